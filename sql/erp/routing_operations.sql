-- One step of making an item.
create table routing_operations (
  routing_id     text not null,                              -- the ERP's own key
  operation_no   int not null,                               -- order of the steps
  alternative    int not null,                               -- 1 is the preferred work centre
  item_id        text not null references xref.items,        -- what it makes
  site_id        text references xref.sites,                 -- where; null: at every site
  work_center_id text not null references xref.work_centers, -- where it runs
  name           text,                                       -- what is done
  setup_s        bigint not null,                            -- seconds to set up, whatever the quantity
  run_s_per_unit decimal(18,6) not null,                     -- seconds for each stock unit
  queue_s        bigint,                                     -- seconds it usually waits before; null: 0
  overlap        boolean,                                    -- whether the next step may start before this one ends; null: no
  supplier_id    text references xref.suppliers,             -- who does it, if subcontracted
  primary key (routing_id, operation_no, alternative)
);
