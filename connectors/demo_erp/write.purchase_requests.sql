-- A proposal as a purchase request, in the material's stock unit with three places.
select
  r.proposal_id as "EXTREF",
  r.source_item_id as "MATNR",
  r.source_site_id as "WERK",
  cast(r.quantity as decimal(13,3)) as "MENGE",
  m."MEINS",
  r.needed_date as "BEDT",
  r.source_supplier_id as "LFNR",
  r._reason,
  r._mode
from outbox.purchase_requests as r
join mat as m on m."MATNR" = r.source_item_id
