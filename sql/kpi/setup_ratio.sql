--! description = "Set-up time of the time in which work centres were set up or produced"
--! key = ["day", "work_center_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Set-up ratio"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 10.0
--! source = "ISO 22400-2: AUST / AUPT"
--! node = "aps"
with states as (
  -- a state that lasts over midnight counts for the day on which it began
  select work_center_id, cast(started_at as date) as day, state, extract(epoch from ended_at) - extract(epoch from started_at) as seconds
  from mes.equipment_states
  where ended_at is not null
)
select
  day, work_center_id,
  cast(sum(case when state = 'setup' then seconds else 0 end) as double) as numerator,
  cast(sum(seconds) as double) as denominator
from states
where state in ('setup', 'running')
group by day, work_center_id
