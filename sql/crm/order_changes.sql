-- One change that a customer made to an order after it was placed.
create table order_changes (
  change_id  text not null,                        -- the CRM's own key
  request_id text not null,                        -- the order request that changed
  line_no    int,                                  -- its line; null: the whole request
  order_id   text references xref.sales_orders,    -- the ERP's order
  field      text not null,                        -- quantity, requested_date, cancelled, other
  old_value  text,                                 -- as the source wrote it
  new_value  text,                                 -- as the source wrote it
  at         timestamp(6) with time zone not null, -- when
  primary key (change_id)
);
