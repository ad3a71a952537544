-- What a work centre did from one instant to another.
create table equipment_states (
  event_id       text not null,                              -- the MES's own key
  work_center_id text not null references xref.work_centers, -- which
  state          text not null,                              -- running, setup, idle, down, planned-stop
  reason         text,                                       -- in the firm's catalogue
  started_at     timestamp(6) with time zone not null,       -- inclusive
  ended_at       timestamp(6) with time zone,                -- exclusive; null: still so
  primary key (event_id)
);
