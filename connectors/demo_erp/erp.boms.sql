-- Bills of material.
select
  "STLNR" as bom_id,
  "STAND" as revision,
  "MATNR" as item_id,
  "WERK" as site_id,
  cast("BMENGE" as decimal(18,6)) as base_quantity,
  "GAB" as valid_from,
  cast(null as date) as valid_to,
  cast("RANG" as int) as priority,
  false as phantom,
  "STLNR" || '/' || "STAND" as source_id,
  "AENDZT" as changed_at
from stl
