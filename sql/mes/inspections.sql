-- A judgement over a lot, receipt or order.
create table inspections (
  inspection_id text not null,                        -- the MES's own key
  trigger       text not null,                        -- receipt, operation, final, complaint
  receipt_id    text,                                 -- of wms.receipts
  work_order_id text references xref.work_orders,     -- if in production
  item_id       text not null references xref.items,  -- what
  lot_id        text references xref.lots,            -- the source's key of the lot: its number, or item/number where numbers repeat over items
  lot_number    text,                                 -- the lot's number as printed
  quantity      decimal(18,6),                        -- size of the lot, in stock units
  sample        decimal(18,6),                        -- inspected
  rejected      decimal(18,6),                        -- of the sample; of the lot where all was inspected
  defect_code   text,                                 -- what is wrong, in the firm's catalogue
  decision      text not null,                        -- pending, accepted, conditional, rejected
  created_at    timestamp(6) with time zone not null, -- when it was opened
  decided_at    timestamp(6) with time zone,          -- when it was decided
  primary key (inspection_id)
);
