-- One counted position.
create table counts (
  count_id    text not null,                        -- the WMS's own key
  line_no     int not null,                         -- from 1
  item_id     text not null references xref.items,  -- what
  site_id     text not null references xref.sites,  -- where
  location_id text not null,                        -- of wms.locations
  lot_id      text references xref.lots,            -- which lot
  expected    decimal(18,6) not null,               -- by the books, in stock units
  counted     decimal(18,6) not null,               -- found, in stock units
  tolerance   double,                               -- allowed difference as a share of expected; null: 0.01
  at          timestamp(6) with time zone not null, -- when
  primary key (count_id, line_no)
);
