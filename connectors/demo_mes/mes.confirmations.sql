-- Reports of work, one for each stretch within a shift.
select
  cast(r.id as text) as confirmation_id,
  cast(r.job_id as text) as work_order_id,
  cast(r.step as int) as operation_no,
  m.code as work_center_id,
  cast(r.good as decimal(18,6)) as good,
  cast(r.scrap as decimal(18,6)) as scrap,
  cast(0 as decimal(18,6)) as rework,
  r.cause as reason,
  cast(null as bigint) as setup_s,
  cast(to_timestamp_millis(r.begin_ms) as timestamp(6) with time zone) as started_at,
  cast(to_timestamp_millis(r.end_ms) as timestamp(6) with time zone) as ended_at,
  cast(to_timestamp_millis(r.end_ms) as timestamp(6) with time zone) as reported_at,
  cast(null as text) as reverses,
  cast(r.id as text) as source_id,
  cast(to_timestamp_millis(r.modified_ms) as timestamp(6) with time zone) as changed_at
from report as r
join machine as m on m.id = r.machine_id
