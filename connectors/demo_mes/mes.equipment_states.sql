-- Set-up and breakdowns; running time is in the reports.
select
  cast(e.id as text) as event_id,
  m.code as work_center_id,
  case e.state
    when 'RUN' then 'running'
    when 'SETUP' then 'setup'
    when 'IDLE' then 'idle'
    when 'DOWN' then 'down'
    when 'STOP' then 'planned-stop'
  end as state,
  e.cause as reason,
  cast(to_timestamp_millis(e.begin_ms) as timestamp(6) with time zone) as started_at,
  cast(to_timestamp_millis(e.end_ms) as timestamp(6) with time zone) as ended_at,
  cast(e.id as text) as source_id,
  cast(to_timestamp_millis(e.modified_ms) as timestamp(6) with time zone) as changed_at
from machine_state as e
join machine as m on m.id = e.machine_id
