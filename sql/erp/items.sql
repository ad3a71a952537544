-- Anything that is bought, made, stocked or sold.
create table items (
  item_id         text not null references xref.items, -- the ERP's own key
  item_number     text,                                -- the number printed on documents, if another than the key
  name            text not null,                       -- short description
  item_type       text not null,                       -- finished, semi-finished, component, raw, packaging, service
  family          text,                                -- set-up family: changing within one costs no set-up
  stock_unit      text not null,                       -- the unit of every quantity of this item in the hub
  lot_control     boolean not null,                    -- whether stock is kept by lot
  shelf_life_days int,                                 -- from making to expiry
  revision        text,                                -- current engineering revision
  gtin            text,                                -- GTIN, digits only
  status          text not null,                       -- active, phase-out, inactive
  primary key (item_id)
);
