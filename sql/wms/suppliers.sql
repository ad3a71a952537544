-- A supplier as the warehouse knows it: only what is needed to match it with the ERP's supplier.
create table suppliers (
  supplier_id     text not null references xref.suppliers, -- the WMS's own key
  supplier_number text,                                    -- the ERP's number, if another than the key
  tax_id          text,                                    -- VAT number, with country code
  name            text not null,                           -- as on delivery notes
  primary key (supplier_id)
);
