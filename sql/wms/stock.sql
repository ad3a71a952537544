-- What lies where.
create table stock (
  stock_id    text not null,                       -- the WMS's own key of the stock record
  item_id     text not null references xref.items, -- what
  location_id text not null,                       -- of wms.locations
  site_id     text not null references xref.sites, -- of the location
  lot_id      text references xref.lots,           -- which lot; null: not kept by lot
  status      text not null,                       -- available, inspection, hold, rejected
  owner       text,                                -- whose it is, if not ours
  quantity    decimal(18,6) not null,              -- in stock units; negative is an error made visible
  reserved    decimal(18,6) not null,              -- already promised to a document, in stock units
  as_of       timestamp(6) with time zone,         -- last change
  primary key (stock_id)
);
