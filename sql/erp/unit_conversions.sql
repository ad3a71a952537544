-- numerator / denominator: how many to_unit one from_unit is.
create table unit_conversions (
  item_id     text not null references xref.items, -- of which item
  from_unit   text not null,                       -- as used in documents
  to_unit     text not null,                       -- usually the stock unit
  numerator   decimal(18,6) not null,              -- above 0
  denominator decimal(18,6) not null,              -- above 0
  primary key (item_id, from_unit, to_unit)
);
