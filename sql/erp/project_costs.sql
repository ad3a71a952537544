-- One amount booked on a project.
create table project_costs (
  entry_id   text not null,          -- the ERP's own key
  project_id text not null,          -- of which project
  task_id    text,                   -- of which task
  kind       text not null,          -- budget, commitment, actual
  amount     decimal(18,6) not null, -- in currency
  currency   text not null,          -- ISO 4217
  booked_on  date not null,          -- day of the booking
  primary key (entry_id)
);
