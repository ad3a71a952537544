select
  cast(c.id as text) as work_center_id,
  cast(null as text) as external_ref,
  c.name,
  cast(c.warehouse as text) as site_id,
  cast(c.parent as text) as parent_id,
  cast(null as text) as calendar_id,
  cast(1 as decimal(18,6)) as capacity,
  cast(null as double) as efficiency,
  cast(c.id as text) as source_id,
  cast(c.write_date as text) as source_version,
  coalesce(c.write_date, c.create_date) as changed_at
from production_work_center as c
where c.warehouse is not null
