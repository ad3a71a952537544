--! description = "Time in which work centres produced, of the time in which they were meant to"
--! key = ["day", "work_center_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Availability"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 85.0
--! source = "ISO 22400-2: APT / PBT"
--! node = "mes"
with states as (
  -- a state that lasts over midnight counts for the day on which it began
  select work_center_id, cast(started_at as date) as day, state, extract(epoch from ended_at) - extract(epoch from started_at) as seconds
  from mes.equipment_states
  where ended_at is not null
)
select
  day, work_center_id,
  cast(sum(case when state = 'running' then seconds else 0 end) as double) as numerator,
  cast(sum(seconds) as double) as denominator
from states
where state <> 'planned-stop'
group by day, work_center_id
