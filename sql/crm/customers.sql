-- A customer as sales knows it.
create table customers (
  customer_id     text not null references xref.customers, -- the CRM's own key
  customer_number text,                                    -- the number printed on documents, if another than the key
  erp_customer_id text,                                    -- the customer's key or number in the ERP, where the CRM keeps it: the surest way to match
  name            text not null,                           -- as written on letters
  tax_id          text,                                    -- VAT number, with country code
  street          text,                                    -- delivery address
  city            text,                                    -- delivery address
  country         text,                                    -- ISO 3166-1 alpha-2
  segment         text,                                    -- how sales groups customers; free text of the firm
  priority        int,                                     -- 1 is served first; null counts as the lowest
  owner           text,                                    -- the account manager
  status          text not null,                           -- prospect, active, blocked, inactive
  primary key (customer_id)
);
