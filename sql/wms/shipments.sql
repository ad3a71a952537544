-- One line of goods that left to a customer.
create table shipments (
  shipment_id   text not null,                              -- the delivery note's number
  line_no       int not null,                               -- from 1
  order_id      text not null references xref.sales_orders, -- of which order
  order_line_no int,                                        -- its line; null: unknown
  customer_id   text references xref.customers,             -- to whom; null: see the order
  item_id       text not null references xref.items,        -- what
  site_id       text not null references xref.sites,        -- from where
  lot_id        text references xref.lots,                  -- which lot
  quantity      decimal(18,6) not null,                     -- in stock units
  shipped_at    timestamp(6) with time zone not null,       -- when it left
  delivered_at  timestamp(6) with time zone,                -- when it arrived; null: not known
  primary key (shipment_id, line_no)
);
