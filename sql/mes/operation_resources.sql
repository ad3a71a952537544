-- A tool or skill that a step of a work order needs besides its work centre.
create table operation_resources (
  work_order_id text not null references xref.work_orders, -- of which order
  operation_no  int not null,                              -- of which step
  resource_id   text not null,                             -- of mes.resources
  quantity      int,                                       -- how many at once; null: 1
  primary key (work_order_id, operation_no, resource_id)
);
