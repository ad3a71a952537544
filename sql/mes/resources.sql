-- A tool or skill that an operation needs besides its work centre.
create table resources (
  resource_id text not null,              -- the MES's own key
  site_id     text references xref.sites, -- where
  name        text not null,              -- as people call it
  kind        text not null,              -- tool, skill
  capacity    decimal(18,6) not null,     -- how many there are
  calendar_id text,                       -- of erp.calendars; null: the site's
  primary key (resource_id)
);
