-- What one item costs.
create table item_costs (
  item_id      text not null references xref.items, -- what
  site_id      text not null references xref.sites, -- where
  kind         text not null,                       -- standard, average, last
  valid_from   date not null,                       -- first day
  amount       decimal(18,6) not null,              -- for per_quantity of the stock unit
  currency     text not null,                       -- ISO 4217
  per_quantity decimal(18,6) not null,              -- above 0, usually 1
  primary key (item_id, site_id, kind, valid_from)
);
