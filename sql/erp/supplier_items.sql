-- A price with conditions: from whom an item can be bought.
create table supplier_items (
  supplier_id          text not null references xref.suppliers, -- from whom
  item_id              text not null references xref.items,     -- what
  site_id              text not null references xref.sites,     -- for which site
  valid_from           date not null,                           -- first day of the price
  valid_to             date,                                    -- last day; null: open
  min_quantity         decimal(18,6) not null,                  -- the price holds from this order quantity on, in stock units
  price                decimal(18,6) not null,                  -- for one stock unit
  currency             text not null,                           -- ISO 4217
  lead_time_days       int not null,                            -- calendar days from order to receipt, as agreed
  multiple             decimal(18,6),                           -- orders are multiples of it; null: any quantity
  share                double,                                  -- of the item's volume it should get, 0 to 1; null: the hub decides
  supplier_item_number text,                                    -- how the supplier calls it
  primary key (supplier_id, item_id, site_id, valid_from, min_quantity)
);
