-- Steps of jobs: set-up in minutes, cycle in milliseconds for a stock unit.
select
  cast(s.job_id as text) as work_order_id,
  cast(s.step as int) as operation_no,
  m.code as work_center_id,
  m.label as name,
  cast(s.qty as decimal(18,6)) as quantity,
  cast(s.good as decimal(18,6)) as good,
  cast(round(s.setup_min * 60) as bigint) as setup_s,
  cast(s.cycle_ms / 1000 as decimal(18,6)) as run_s_per_unit,
  cast(to_timestamp_millis(s.plan_start_ms) as timestamp(6) with time zone) as planned_start,
  cast(to_timestamp_millis(s.plan_end_ms) as timestamp(6) with time zone) as planned_end,
  cast(to_timestamp_millis(s.start_ms) as timestamp(6) with time zone) as actual_start,
  cast(to_timestamp_millis(s.end_ms) as timestamp(6) with time zone) as actual_end,
  cast(null as bigint) as remaining_s,
  false as locked,
  case s.state
    when 0 then 'pending'
    when 1 then 'ready'
    when 2 then 'started'
    when 3 then 'completed'
    when 8 then 'paused'
    when 9 then 'cancelled'
  end as status,
  cast(s.job_id as text) || '/' || cast(s.step as text) as source_id,
  cast(to_timestamp_millis(s.modified_ms) as timestamp(6) with time zone) as changed_at
from job_step as s
join machine as m on m.id = s.machine_id
