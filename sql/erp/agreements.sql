-- One line of a frame contract.
create table agreements (
  agreement_id text not null,                       -- the ERP's own key
  line_no      int not null,                        -- from 1
  party_id     text not null,                       -- supplier or customer, the ERP's own key
  kind         text not null,                       -- purchase, sales
  item_id      text not null references xref.items, -- what
  quantity     decimal(18,6) not null,              -- agreed in total, in stock units
  released     decimal(18,6) not null,              -- already ordered, in stock units
  price        decimal(18,6),                       -- for one stock unit
  currency     text,                                -- ISO 4217
  valid_from   date,                                -- null: always
  valid_to     date,                                -- last day; null: open
  primary key (agreement_id, line_no)
);
