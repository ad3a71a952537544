-- An item as the warehouse knows it: only what is needed to match it with the ERP's item.
create table items (
  item_id     text not null references xref.items, -- the WMS's own key
  item_number text,                                -- the firm's item number, if another than the key
  gtin        text,                                -- GTIN, digits only
  name        text,                                -- short description
  stock_unit  text,                                -- the unit in which the WMS counts it
  primary key (item_id)
);
