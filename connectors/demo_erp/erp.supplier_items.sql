-- Prices with quantity scales, for a price unit of usually a hundred.
select
  "LFNR" as supplier_id,
  "MATNR" as item_id,
  "WERK" as site_id,
  "GAB" as valid_from,
  cast(null as date) as valid_to,
  cast("STAFM" as decimal(18,6)) as min_quantity,
  cast(cast("PREIS" as decimal(18,6)) / "PREH" as decimal(18,6)) as price,
  "WAERS" as currency,
  cast("WBZ" as int) as lead_time_days,
  cast("RUNDW" as decimal(18,6)) as multiple,
  cast("QUOTE" as double) / 100 as share,
  "LFMAT" as supplier_item_number,
  "LFNR" || '/' || "MATNR" as source_id,
  "AENDZT" as changed_at
from info
