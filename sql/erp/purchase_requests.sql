-- A wish to buy something, before a buyer makes an order of it.
create table purchase_requests (
  request_id   text not null,                        -- the ERP's own key
  line_no      int not null,                         -- from 1
  item_id      text not null references xref.items,  -- what
  site_id      text not null references xref.sites,  -- for which site
  quantity     decimal(18,6) not null,               -- in stock units
  needed_date  date not null,                        -- when it must be in stock
  supplier_id  text references xref.suppliers,       -- proposed; null: the buyer chooses
  status       text not null,                        -- proposed, approved, ordered, rejected, cancelled
  external_ref text,                                 -- the hub's proposal_id where the hub made it
  order_id     text references xref.purchase_orders, -- the order it became
  created_at   timestamp(6) with time zone,          -- when
  primary key (request_id, line_no)
);
