-- One schedule line of a customer's order.
create table sales_order_lines (
  order_id       text not null references xref.sales_orders, -- the ERP's own key
  line_no        int not null,                               -- from 1
  schedule_no    int not null,                               -- from 1; 1 where the product has no schedules
  order_number   text,                                       -- the number printed on documents, if another than the key
  request_id     text,                                       -- the CRM's order request that it came from, where the ERP keeps it
  customer_id    text not null references xref.customers,    -- who ordered
  customer_po    text,                                       -- the customer's own order number
  item_id        text not null references xref.items,        -- what
  site_id        text not null references xref.sites,        -- which site delivers
  quantity       decimal(18,6) not null,                     -- ordered, in stock units
  shipped        decimal(18,6) not null,                     -- delivered so far, in stock units
  price          decimal(18,6),                              -- for one stock unit
  currency       text,                                       -- ISO 4217
  ordered_at     timestamp(6) with time zone not null,       -- when the order was placed
  requested_date date not null,                              -- when the customer wants to have it
  first_promised date,                                       -- the first date that we promised; never changes
  promised       date,                                       -- the date that we promise now
  priority       int,                                        -- 1 is served first; null: the customer's
  status         text not null,                              -- draft, confirmed, shipped, closed, cancelled; only confirmed lines are open
  primary key (order_id, line_no, schedule_no)
);
