-- Products: most carry the ERP's number, some only a bar code.
select
  cast(id as text) as item_id,
  sku as item_number,
  gtin,
  label as name,
  case uom when 'pcs' then 'ST' when 'kg' then 'KG' end as stock_unit,
  cast(id as text) as source_id,
  cast(to_timestamp_millis(modified_ms) as timestamp(6) with time zone) as changed_at
from product
