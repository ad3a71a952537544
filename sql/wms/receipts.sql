-- One line of goods that came in from a supplier or from production.
create table receipts (
  receipt_id    text not null,                        -- the WMS's own key
  line_no       int not null,                         -- from 1
  kind          text not null,                        -- purchase, production, return
  order_id      text references xref.purchase_orders, -- if bought
  order_line_no int,                                  -- its line
  work_order_id text references xref.work_orders,     -- if made
  supplier_id   text references xref.suppliers,       -- if bought
  item_id       text not null references xref.items,  -- what
  site_id       text not null references xref.sites,  -- where
  lot_id        text references xref.lots,            -- the lot it became
  supplier_lot  text,                                 -- the supplier's own number
  quantity      decimal(18,6) not null,               -- came in, in stock units
  accepted      decimal(18,6),                        -- after inspection, in stock units; null: not inspected
  received_at   timestamp(6) with time zone not null, -- when
  primary key (receipt_id, line_no)
);
