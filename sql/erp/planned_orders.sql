-- A proposal that the ERP keeps: to make, buy or move something.
create table planned_orders (
  planned_id   text not null,                       -- the ERP's own key
  kind         text not null,                       -- make, buy, transfer
  item_id      text not null references xref.items, -- what
  site_id      text not null references xref.sites, -- where
  quantity     decimal(18,6) not null,              -- in stock units
  start_date   date,                                -- when to begin
  due_date     date not null,                       -- when it must be in stock
  firm         boolean not null,                    -- whether a planner fixed it
  external_ref text,                                -- the hub's proposal_id where the hub made it
  primary key (planned_id)
);
