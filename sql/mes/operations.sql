-- One step of a work order.
create table operations (
  work_order_id  text not null references xref.work_orders,  -- of which order
  operation_no   int not null,                               -- order of the steps
  work_center_id text not null references xref.work_centers, -- where it runs
  name           text,                                       -- what is done
  quantity       decimal(18,6),                              -- to process, in stock units; null: the order's
  good           decimal(18,6),                              -- good so far, in stock units; null: 0
  setup_s        bigint,                                     -- planned seconds to set up; null: the routing's
  run_s_per_unit decimal(18,6),                              -- planned seconds for each unit; null: the routing's
  planned_start  timestamp(6) with time zone,                -- as scheduled
  planned_end    timestamp(6) with time zone,                -- as scheduled
  actual_start   timestamp(6) with time zone,                -- null: not started
  actual_end     timestamp(6) with time zone,                -- null: not ended
  remaining_s    bigint,                                     -- as the shop floor reports it; null: from the quantity left
  locked         boolean,                                    -- whether a dispatcher fixed it; null: no
  status         text not null,                              -- pending, ready, started, paused, completed, cancelled
  primary key (work_order_id, operation_no)
);
