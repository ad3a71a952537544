-- What is measured.
select
  plan as plan_id,
  cast(id as text) as characteristic_id,
  cast(product_id as text) as item_id,
  cast(step as int) as operation_no,
  label as name,
  unit,
  cast(nominal as double) as target,
  cast(low as double) as lower,
  cast(high as double) as upper,
  sampling,
  cast(id as text) as source_id
from spec
