-- What goes into (or also comes out of) a bill of materials.
create table bom_lines (
  bom_id       text not null,                       -- of which bill
  revision     text not null,                       -- of which revision
  line_no      int not null,                        -- from 1
  item_id      text not null references xref.items, -- component, co-product or by-product
  quantity     decimal(18,6) not null,              -- for the bill's base quantity, in the item's stock unit, without scrap
  role         text not null,                       -- component, co-product, by-product
  scrap_ratio  double,                              -- share that is lost, 0 to below 1; null: none
  operation_no int,                                 -- where it is needed; null: at the start
  valid_from   date,                                -- null: as the bill
  valid_to     date,                                -- null: as the bill
  primary key (bom_id, revision, line_no)
);
