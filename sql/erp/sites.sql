-- A place that holds stock or makes things.
create table sites (
  site_id     text not null references xref.sites, -- the ERP's own key
  name        text not null,                       -- as people call it
  kind        text not null,                       -- plant, warehouse, subcontractor
  calendar_id text,                                -- when it works; null: see mes.work_centers
  time_zone   text not null,                       -- IANA name, whose days are the site's days
  currency    text not null,                       -- ISO 4217, of its costs
  primary key (site_id)
);
