-- One measured value.
create table measurements (
  measurement_id    text not null,                        -- the MES's own key
  characteristic_id text not null,                        -- of mes.characteristics
  value             double not null,                      -- in the characteristic's unit
  item_id           text references xref.items,           -- of which item; null: the characteristic's
  lot_id            text references xref.lots,            -- of which lot
  work_order_id     text references xref.work_orders,     -- at which order
  work_center_id    text references xref.work_centers,    -- made where
  subgroup          text,                                 -- values measured together; null: single values
  at                timestamp(6) with time zone not null, -- when
  primary key (measurement_id)
);
