-- What jobs need.
select
  cast(job_id as text) as work_order_id,
  cast(line as int) as line_no,
  cast(product_id as text) as item_id,
  cast(need as decimal(18,6)) as required,
  cast(issued as decimal(18,6)) as issued,
  cast(null as int) as operation_no,
  cast(job_id as text) || '/' || cast(line as text) as source_id,
  cast(to_timestamp_millis(modified_ms) as timestamp(6) with time zone) as changed_at
from job_material
