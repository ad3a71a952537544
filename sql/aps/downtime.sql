--! description = "When work centres stand still from now on; what has no reported end takes as long as it usually does there"
--! key = ["resource_id", "starts_at"]
--! clock = "hour"
--! checks = ["ends_at > starts_at"]
with states as (
  select
    *, row_number() over (partition by work_center_id order by started_at desc, event_id) as nth
  from mes.equipment_states
),
usual as (
  select work_center_id, avg(extract(epoch from ended_at) - extract(epoch from started_at)) as seconds
  from states
  where state in ('down', 'planned-stop') and ended_at > started_at
  group by work_center_id
),
standing as (
  select
    s.work_center_id, s.started_at,
    -- nobody knows when it ends: not within the hour
    coalesce(s.ended_at, greatest(
      cast(now() + interval '1 hour' as timestamp(6) with time zone),
      cast(to_timestamp_micros(cast((extract(epoch from s.started_at) + coalesce(u.seconds, 0)) * 1000000 as bigint)) as timestamp(6) with time zone)
    )) as ended_at
  from states as s
  left join usual as u on u.work_center_id = s.work_center_id
  -- a state without an end is over when another has begun
  where s.state in ('down', 'planned-stop') and (s.ended_at is not null or s.nth = 1)
)
select work_center_id as resource_id, started_at as starts_at, max(ended_at) as ends_at
from standing
where ended_at > now() and ended_at > started_at
group by work_center_id, started_at
