-- A place in a warehouse.
create table locations (
  location_id text not null,                       -- the WMS's own key
  site_id     text not null references xref.sites, -- where
  name        text,                                -- as on the label
  usage       text not null,                       -- storage, receiving, staging, production, quarantine, scrap, shipping
  nettable    boolean not null,                    -- whether stock there may be planned with
  primary key (location_id)
);
