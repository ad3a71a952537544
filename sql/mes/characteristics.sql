-- Something that is measured or judged.
create table characteristics (
  plan_id           text not null,                       -- inspection plan
  characteristic_id text not null,                       -- unique over all plans of the system
  item_id           text references xref.items,          -- of which item; null: of several
  operation_no      int,                                 -- at which step; null: at receipt or at the end
  name              text not null,                       -- what is measured
  unit              text,                                -- of the values
  target            double,                              -- nominal value
  lower             double,                              -- lower specification limit; null: none
  upper             double,                              -- upper specification limit; null: none
  sampling          text,                                -- as the plan says it
  primary key (plan_id, characteristic_id)
);
