-- A control is for a product or a category; a characteristic that is for no single product is left out where a key is needed.
select
  cast(k.control as text) as plan_id,
  cast(k.id as text) as characteristic_id,
  cast(c.product as text) as item_id,
  cast(null as int) as operation_no,
  coalesce(k.string, k.name) as name,
  cast(null as text) as unit,
  cast(null as double) as target,
  k.tolerance_lower as lower,
  k.tolerance_upper as upper,
  cast(c.frequency as text) as sampling,
  cast(k.id as text) as source_id,
  cast(k.write_date as text) as source_version,
  coalesce(k.write_date, k.create_date) as changed_at
from quality_control_point as k
join quality_control as c on c.id = k.control
where k.type_ <> 'boolean'
