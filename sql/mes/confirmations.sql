-- A report of work done.
create table confirmations (
  confirmation_id text not null,                              -- the MES's own key
  work_order_id   text not null references xref.work_orders,  -- on which order
  operation_no    int not null,                               -- on which step
  work_center_id  text not null references xref.work_centers, -- where it ran
  good            decimal(18,6) not null,                     -- in stock units; negative in a reversal
  scrap           decimal(18,6) not null,                     -- in stock units
  rework          decimal(18,6) not null,                     -- in stock units
  reason          text,                                       -- of scrap or rework, in the firm's catalogue
  setup_s         bigint,                                     -- seconds of set-up in it; null: see mes.equipment_states
  started_at      timestamp(6) with time zone not null,       -- begin of the work
  ended_at        timestamp(6) with time zone not null,       -- end of the work
  reported_at     timestamp(6) with time zone,                -- when it was entered
  reverses        text,                                       -- the confirmation that it takes back
  primary key (confirmation_id)
);
