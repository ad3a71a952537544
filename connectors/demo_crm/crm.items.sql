-- The product list: some products carry the ERP's number, some only a bar code. Packs are counted, so the unit is not the stock unit.
select
  product_code as item_id,
  erp_number as item_number,
  ean as gtin,
  title as name,
  'pack' as stock_unit,
  product_code as source_id,
  updated_at as changed_at
from product
