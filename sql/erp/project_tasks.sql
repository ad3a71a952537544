-- A task of a customer's project.
create table project_tasks (
  project_id      text not null,                     -- the ERP's own key
  task_id         text not null,                     -- the ERP's own key, unique in the project
  parent_id       text,                              -- the task above it
  name            text not null,                     -- what is to be done
  order_id        text references xref.sales_orders, -- the customer's order behind it
  budget          decimal(18,6),                     -- budget at completion
  currency        text,                              -- ISO 4217
  planned_start   date,                              -- baseline
  planned_finish  date,                              -- baseline
  forecast_finish date,                              -- as expected now
  progress        double not null,                   -- 0 to 1
  milestone       boolean not null,                  -- whether it is one
  status          text not null,                     -- open, done, cancelled
  primary key (project_id, task_id)
);
