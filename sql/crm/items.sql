-- An item as the CRM's product list knows it: only what is needed to match it with the ERP's item.
create table items (
  item_id     text not null references xref.items, -- the CRM's own key
  item_number text,                                -- the firm's item number, if another than the key
  gtin        text,                                -- GTIN-8, -12, -13 or -14, digits only
  name        text not null,                       -- as shown to customers
  stock_unit  text,                                -- the unit in which the CRM counts it
  primary key (item_id)
);
