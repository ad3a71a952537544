-- A quality problem that people work on.
create table quality_cases (
  case_id     text not null,                        -- the source's own key
  kind        text not null,                        -- nonconformance, complaint, supplier, audit
  item_id     text references xref.items,           -- about what
  lot_id      text references xref.lots,            -- about which lot
  lot_number  text,                                 -- the lot's number as printed
  defect_code text,                                 -- what is wrong, in the firm's catalogue
  owner       text,                                 -- who is responsible
  disposition text,                                 -- use-as-is, rework, scrap, return; null: not decided
  status      text not null,                        -- open, contained, closed, cancelled
  opened_at   timestamp(6) with time zone not null, -- when
  due_date    date,                                 -- until when
  closed_at   timestamp(6) with time zone,          -- when
  primary key (case_id)
);
