-- A bill of materials: how an item is made at a site.
create table boms (
  bom_id        text not null,                       -- the ERP's own key
  revision      text not null,                       -- of the bill; '' where the product has none
  item_id       text not null references xref.items, -- what it makes
  site_id       text references xref.sites,          -- where; null: at every site
  base_quantity decimal(18,6) not null,              -- its lines are for this quantity of the item
  valid_from    date,                                -- null: always
  valid_to      date,                                -- last day; null: open
  priority      int not null,                        -- the lowest valid one is used
  phantom       boolean not null,                    -- whether the item is passed through, never stocked
  primary key (bom_id, revision)
);
