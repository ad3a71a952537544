-- Articles.
select
  article as item_id,
  host_item as item_number,
  ean as gtin,
  descr as name,
  base_unit as stock_unit,
  article as source_id
from article
