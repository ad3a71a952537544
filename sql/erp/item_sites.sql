-- How an item is planned at a site.
create table item_sites (
  item_id             text not null references xref.items, -- what
  site_id             text not null references xref.sites, -- where
  make_buy_transfer   text not null,                       -- make, buy, transfer
  planning_method     text not null,                       -- mrp, reorder-point, none
  lead_time_days      int not null,                        -- calendar days from order to stock; for made items the total of one order
  lot_rule            text not null,                       -- lot-for-lot, fixed, multiple
  lot_min             decimal(18,6),                       -- least quantity of one order; null: none. The lot size itself where lot_rule is fixed
  lot_multiple        decimal(18,6),                       -- orders are multiples of it; null: any quantity
  safety_stock        decimal(18,6),                       -- as the ERP keeps it; null: the hub's own policy applies
  demand_fence_days   int,                                 -- inside it only messages are made; null: 0
  planning_fence_days int,                                 -- inside it changes need approval; null: 0
  planner             text,                                -- who is responsible
  primary key (item_id, site_id)
);
