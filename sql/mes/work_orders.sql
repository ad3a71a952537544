-- An order to make something, as the shop floor works on it.
create table work_orders (
  work_order_id text not null references xref.work_orders, -- the MES's own key
  external_ref  text,                                      -- the ERP's key or number of the order
  item_id       text not null references xref.items,       -- what
  site_id       text not null references xref.sites,       -- where
  quantity      decimal(18,6) not null,                    -- to make, in stock units
  good          decimal(18,6) not null,                    -- good so far, in stock units
  scrap         decimal(18,6) not null,                    -- scrapped so far, in stock units
  due_date      date,                                      -- as the MES knows it
  status        text not null,                             -- planned, released, started, completed, closed, cancelled; open: planned, released, started
  firm          boolean,                                   -- whether its dates are fixed; null: no
  demand_ref    text,                                      -- what it is made for, as the source writes it
  started_at    timestamp(6) with time zone,               -- first actual start
  completed_at  timestamp(6) with time zone,               -- last actual end
  primary key (work_order_id)
);
