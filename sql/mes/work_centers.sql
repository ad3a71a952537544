-- A machine, line or group of equal machines.
create table work_centers (
  work_center_id text not null references xref.work_centers, -- the MES's own key
  external_ref   text,                                       -- the key under which the ERP's routings know it, if another
  name           text not null,                              -- as people call it
  site_id        text not null references xref.sites,        -- where it stands
  parent_id      text references xref.work_centers,          -- the group it belongs to
  calendar_id    text,                                       -- of erp.calendars; null: the site's
  capacity       decimal(18,6) not null,                     -- orders that run at once, usually 1
  efficiency     double,                                     -- speed against the routing's times, 1 is as planned; null: 1
  primary key (work_center_id)
);
