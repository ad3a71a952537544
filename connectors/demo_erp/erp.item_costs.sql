-- Standard costs.
select
  "MATNR" as item_id,
  "WERK" as site_id,
  case "ART" when 'S' then 'standard' when 'G' then 'average' when 'L' then 'last' end as kind,
  "GAB" as valid_from,
  cast("BETR" as decimal(18,6)) as amount,
  "WAERS" as currency,
  cast("PREH" as decimal(18,6)) as per_quantity,
  "MATNR" || '/' || "WERK" as source_id,
  "AENDZT" as changed_at
from kost
