-- Components; the loss is kept in per cent there.
select
  "STLNR" as bom_id,
  "STAND" as revision,
  cast("POSNR" as int) as line_no,
  "KOMP" as item_id,
  cast("MENGE" as decimal(18,6)) as quantity,
  'component' as role,
  cast("AUSS" as double) / 100 as scrap_ratio,
  cast("VORNR" as int) as operation_no,
  cast(null as date) as valid_from,
  cast(null as date) as valid_to,
  "STLNR" || '/' || "STAND" || '/' || cast("POSNR" as text) as source_id,
  "AENDZT" as changed_at
from stlp
