-- One schedule line of an order to a supplier.
create table purchase_order_lines (
  order_id        text not null references xref.purchase_orders, -- the ERP's own key
  line_no         int not null,                                  -- from 1
  schedule_no     int not null,                                  -- from 1; 1 where the product has no schedules
  order_number    text,                                          -- the number printed on documents, if another than the key
  supplier_id     text not null references xref.suppliers,       -- from whom
  item_id         text not null references xref.items,           -- what
  site_id         text not null references xref.sites,           -- for which site
  quantity        decimal(18,6) not null,                        -- ordered, in stock units
  received        decimal(18,6) not null,                        -- received so far as the ERP books it, in stock units
  ordered_at      timestamp(6) with time zone not null,          -- when the order was sent
  requested_date  date not null,                                 -- when we want to have it
  first_confirmed date,                                          -- the first date that the supplier confirmed; never changes
  confirmed       date,                                          -- the date that the supplier confirms now
  price           decimal(18,6) not null,                        -- for one stock unit
  currency        text not null,                                 -- ISO 4217
  external_ref    text,                                          -- the hub's proposal_id where the order came from a proposal
  status          text not null,                                 -- draft, ordered, confirmed, received, closed, cancelled; open: ordered, confirmed
  primary key (order_id, line_no, schedule_no)
);
