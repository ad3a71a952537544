-- One line of a customer's order as sales took it, before and after it became an order in the ERP.
create table order_requests (
  request_id     text not null,                           -- the CRM's own key
  line_no        int not null,                            -- from 1
  customer_id    text not null references xref.customers, -- who orders
  customer_po    text,                                    -- the customer's own order number
  item_id        text not null references xref.items,     -- what
  site_id        text references xref.sites,              -- which site should deliver; null: the ERP decides
  quantity       decimal(18,6) not null,                  -- in the item's stock unit
  requested_date date not null,                           -- when the customer wants to have it
  status         text not null,                           -- draft, quoted, won, lost, cancelled
  created_at     timestamp(6) with time zone not null,    -- when sales recorded it
  won_at         timestamp(6) with time zone,             -- when the customer agreed
  erp_order_id   text references xref.sales_orders,       -- the ERP's order, once handed over
  erp_line_no    int,                                     -- the line of that order; null: same as line_no
  promised       date,                                    -- the promise as sales sees it: a copy of the ERP's
  owner          text,                                    -- the account manager
  primary key (request_id, line_no)
);
