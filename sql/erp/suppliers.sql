-- Who sells to us.
create table suppliers (
  supplier_id     text not null references xref.suppliers, -- the ERP's own key
  supplier_number text,                                    -- the number printed on documents, if another than the key
  name            text not null,                           -- legal name
  tax_id          text,                                    -- VAT number, with country code
  city            text,                                    -- of the head office
  country         text,                                    -- ISO 3166-1 alpha-2
  approval_status text not null,                           -- approved, conditional, blocked
  currency        text not null,                           -- ISO 4217, in which it bills
  incoterm        text,                                    -- three letters
  parent_id       text references xref.suppliers,          -- the group it belongs to
  primary key (supplier_id)
);
