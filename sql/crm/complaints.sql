-- One line of a customer's complaint.
create table complaints (
  complaint_id text not null,                           -- the CRM's own key
  line_no      int not null,                            -- from 1
  customer_id  text not null references xref.customers, -- who complains
  order_id     text references xref.sales_orders,       -- about which order
  shipment_id  text,                                    -- the delivery note's number
  item_id      text references xref.items,              -- about what
  lot_id       text references xref.lots,               -- the source's key of the lot: its number, or item/number where numbers repeat over items
  lot_number   text,                                    -- the lot's number as printed
  quantity     decimal(18,6),                           -- in the item's stock unit
  defect_code  text,                                    -- what is wrong, in the firm's catalogue
  severity     text not null,                           -- minor, major, critical
  received_at  timestamp(6) with time zone not null,    -- when it came in
  status       text not null,                           -- open, investigating, justified, rejected, closed
  primary key (complaint_id, line_no)
);
