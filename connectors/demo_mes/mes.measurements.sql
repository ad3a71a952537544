-- Measured values.
select
  cast(r.id as text) as measurement_id,
  cast(r.spec_id as text) as characteristic_id,
  cast(r.val as double) as value,
  cast(s.product_id as text) as item_id,
  r.lot as lot_id,
  cast(r.job_id as text) as work_order_id,
  m.code as work_center_id,
  cast(r.grp as text) as subgroup,
  cast(to_timestamp_millis(r.at_ms) as timestamp(6) with time zone) as at,
  cast(r.id as text) as source_id,
  cast(to_timestamp_millis(r.modified_ms) as timestamp(6) with time zone) as changed_at
from reading as r
join spec as s on s.id = r.spec_id
join machine as m on m.id = r.machine_id
