-- Work plans: set-up in minutes, run time in minutes for a base quantity, queue in hours.
select
  "PLNR" as routing_id,
  cast("VORNR" as int) as operation_no,
  cast(1 as int) as alternative,
  "MATNR" as item_id,
  "WERK" as site_id,
  "ARBPL" as work_center_id,
  "KTEXT" as name,
  cast(round("RUEST" * 60) as bigint) as setup_s,
  cast(cast("BEARB" as double) * 60 / cast("BASIS" as double) as decimal(18,6)) as run_s_per_unit,
  cast(round("LIEGZ" * 3600) as bigint) as queue_s,
  false as overlap,
  cast(null as text) as supplier_id,
  "PLNR" || '/' || cast("VORNR" as text) as source_id,
  "AENDZT" as changed_at
from apl
