-- A lot (batch) of an item.
create table lots (
  lot_id         text not null references xref.lots,  -- the source's key of the lot: its number, or item/number where numbers repeat over items
  item_id        text not null references xref.items, -- of which item
  lot_number     text not null,                       -- as printed
  supplier_id    text references xref.suppliers,      -- who delivered it, if bought
  supplier_lot   text,                                -- the supplier's own number
  made_at        timestamp(6) with time zone,         -- when made or received
  expires_at     timestamp(6) with time zone,         -- end of shelf life
  quality_status text not null,                       -- released, inspection, hold, rejected
  primary key (lot_id)
);
