-- How long it takes to change a work centre from one family to another.
create table setup_times (
  work_center_id text not null references xref.work_centers, -- where
  from_family    text not null,                              -- of erp.items.family; '*' for any
  to_family      text not null,                              -- of erp.items.family; '*' for any
  seconds        bigint not null,                            -- 0 or more
  primary key (work_center_id, from_family, to_family)
);
