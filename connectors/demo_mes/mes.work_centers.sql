-- Machines; the ERP's routings know them by another code.
select
  code as work_center_id,
  host_code as external_ref,
  label as name,
  plant as site_id,
  cast(null as text) as parent_id,
  shift_model as calendar_id,
  cast(slots as decimal(18,6)) as capacity,
  cast(speed_pct as double) / 100 as efficiency,
  cast(id as text) as source_id,
  cast(to_timestamp_millis(modified_ms) as timestamp(6) with time zone) as changed_at
from machine
