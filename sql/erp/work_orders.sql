-- An order to make something, as the ERP plans and values it.
create table work_orders (
  work_order_id  text not null references xref.work_orders, -- the ERP's own key
  order_number   text,                                      -- the number printed on documents, if another than the key
  item_id        text not null references xref.items,       -- what
  site_id        text not null references xref.sites,       -- where
  quantity       decimal(18,6) not null,                    -- to make, in stock units
  received       decimal(18,6) not null,                    -- taken into stock so far as the ERP books it, in stock units
  start_date     date,                                      -- when to begin
  due_date       date not null,                             -- when it must be in stock
  sales_order_id text references xref.sales_orders,         -- made for this order; null: for stock
  external_ref   text,                                      -- the hub's proposal_id where the hub made it
  released_at    timestamp(6) with time zone,               -- when it was released to the shop floor
  status         text not null,                             -- planned, firm, released, completed, closed, cancelled; open: planned, firm, released
  primary key (work_order_id)
);
