-- What an ERP has to tell about items, whatever product it is. A contract is filled by the maps of the connectors.
create table items (
  item_id    text not null references xref.items, -- the ERP's own number
  name       text,
  stock_unit text,                                -- every quantity is in this unit
  stock      decimal(18,6),
  price      decimal(18,6),                       -- per stock unit
  primary key (item_id)
);
