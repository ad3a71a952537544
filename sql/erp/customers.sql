-- A customer as the ERP bills it.
create table customers (
  customer_id     text not null references xref.customers, -- the ERP's own key
  customer_number text,                                    -- the number printed on documents, if another than the key
  name            text not null,                           -- legal name
  tax_id          text,                                    -- VAT number, with country code
  city            text,                                    -- of the delivery address
  country         text,                                    -- ISO 3166-1 alpha-2
  priority        int,                                     -- 1 is served first; null counts as the lowest
  currency        text,                                    -- ISO 4217, in which it is billed
  status          text not null,                           -- active, blocked, inactive
  primary key (customer_id)
);
