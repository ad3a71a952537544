-- What a supplier said about an order line.
create table supplier_responses (
  response_id    text not null,                                 -- the source's own key
  order_id       text not null references xref.purchase_orders, -- about which order
  line_no        int not null,                                  -- its line
  schedule_no    int,                                           -- its schedule line; null: 1
  kind           text not null,                                 -- quote, confirmation, asn
  quantity       decimal(18,6) not null,                        -- in stock units
  confirmed_date date not null,                                 -- delivery as confirmed; for an ASN: expected arrival
  received_at    timestamp(6) with time zone not null,          -- when the supplier said it
  primary key (response_id)
);
