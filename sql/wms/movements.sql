-- One movement of stock.
create table movements (
  movement_id      text not null,                        -- the WMS's own key
  kind             text not null,                        -- receipt, putaway, transfer, issue, production, shipment, adjustment
  item_id          text not null references xref.items,  -- what
  lot_id           text references xref.lots,            -- which lot
  quantity         decimal(18,6) not null,               -- in stock units, positive unless it is a reversal or a negative adjustment
  from_location_id text,                                 -- null: from outside
  to_location_id   text,                                 -- null: to outside
  occurred_at      timestamp(6) with time zone not null, -- when
  document         text,                                 -- the order, delivery or count behind it, as the source writes it
  reverses         text,                                 -- the movement that it takes back
  primary key (movement_id)
);
