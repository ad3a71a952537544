--! description = "How each work centre spent its time: producing, set-up, down, idle, in seconds by the day on which it began"
--! key = ["work_center_id", "day"]
--! checks = ["producing_s >= 0", "setup_s >= 0", "down_s >= 0", "idle_s >= 0"]
-- Many products report only set-ups and breakdowns as states; then the confirmations say how long was produced.
with states as (
  select
    work_center_id, cast(started_at as date) as day,
    sum(case when state = 'running' then extract(epoch from ended_at) - extract(epoch from started_at) else 0 end) as running_s,
    sum(case when state = 'setup' then extract(epoch from ended_at) - extract(epoch from started_at) else 0 end) as setup_s,
    sum(case when state = 'down' then extract(epoch from ended_at) - extract(epoch from started_at) else 0 end) as down_s,
    sum(case when state = 'idle' then extract(epoch from ended_at) - extract(epoch from started_at) else 0 end) as idle_s
  from mes.equipment_states
  where ended_at >= started_at
  group by 1, 2
),
reports as (
  select
    work_center_id, cast(started_at as date) as day,
    sum(greatest(0, extract(epoch from ended_at) - extract(epoch from started_at) - coalesce(setup_s, 0))) as reported_s,
    sum(coalesce(setup_s, 0)) as setup_s
  from mes.confirmations
  where ended_at >= started_at and reverses is null
  group by 1, 2
),
reporting as (
  select work_center_id, sum(running_s) > 0 as says_running from states group by work_center_id
)
select
  coalesce(s.work_center_id, r.work_center_id) as work_center_id, coalesce(s.day, r.day) as day,
  cast(case when p.says_running then coalesce(s.running_s, 0) else coalesce(r.reported_s, 0) end as double) as producing_s,
  cast(coalesce(s.setup_s, 0) + coalesce(r.setup_s, 0) as double) as setup_s,
  cast(coalesce(s.down_s, 0) as double) as down_s, cast(coalesce(s.idle_s, 0) as double) as idle_s
from states as s
full join reports as r on r.work_center_id = s.work_center_id and r.day = s.day
left join reporting as p on p.work_center_id = coalesce(s.work_center_id, r.work_center_id)
