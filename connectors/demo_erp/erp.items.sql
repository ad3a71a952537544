-- Materials.
select
  "MATNR" as item_id,
  ltrim("MATNR", '0') as item_number,
  "BEZ" as name,
  case "MTART"
    when 'FERT' then 'finished'
    when 'HALB' then 'semi-finished'
    when 'TEIL' then 'component'
    when 'ROH' then 'raw'
    when 'VERP' then 'packaging'
    when 'DIEN' then 'service'
  end as item_type,
  "RFAM" as family,
  "MEINS" as stock_unit,
  "CHPFL" = 'X' as lot_control,
  cast("HALTB" as int) as shelf_life_days,
  "REVST" as revision,
  "EAN" as gtin,
  case "STAT" when '' then 'active' when '01' then 'phase-out' when '99' then 'inactive' end as status,
  "MATNR" as source_id,
  "AENDZT" as changed_at
from mat
