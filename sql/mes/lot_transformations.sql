-- One lot that went into a work order, or came out of it. Inputs and outputs of the same work order (and batch, where kept) belong together.
create table lot_transformations (
  event_id      text not null,                             -- the MES's own key
  line_no       int not null,                              -- from 1
  work_order_id text not null references xref.work_orders, -- links what went in with what came out
  batch         text,                                      -- part of the order within which inputs and outputs belong together; null: the whole order
  direction     text not null,                             -- input, output
  item_id       text not null references xref.items,       -- of which item
  lot_id        text not null references xref.lots,        -- the source's key of the lot: its number, or item/number where numbers repeat over items
  lot_number    text not null,                             -- the lot's number as printed
  quantity      decimal(18,6) not null,                    -- in stock units
  at            timestamp(6) with time zone not null,      -- when
  origin        text not null,                             -- recorded, inferred
  primary key (event_id, line_no)
);
