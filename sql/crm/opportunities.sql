-- One product line of a possible order.
create table opportunities (
  opportunity_id text not null,                           -- the CRM's own key
  line_no        int not null,                            -- from 1
  customer_id    text not null references xref.customers, -- who may order
  item_id        text references xref.items,              -- what; null while it is only a product group
  quantity       decimal(18,6),                           -- in the item's stock unit
  probability    double not null,                         -- 0 to 1
  close_date     date not null,                           -- when the order is expected
  wanted_date    date,                                    -- when delivery would be wanted
  stage          text not null,                           -- open, won, lost
  order_id       text references xref.sales_orders,       -- the ERP's order that came out of it
  owner          text,                                    -- the account manager
  primary key (opportunity_id, line_no)
);
