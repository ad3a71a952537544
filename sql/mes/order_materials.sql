-- What a work order needs.
create table order_materials (
  work_order_id text not null references xref.work_orders, -- of which order
  line_no       int not null,                              -- from 1
  item_id       text not null references xref.items,       -- component
  required      decimal(18,6) not null,                    -- in stock units
  issued        decimal(18,6) not null,                    -- taken so far, in stock units
  operation_no  int,                                       -- where it is needed; null: at the first
  primary key (work_order_id, line_no)
);
