--! description = "Scheduled against available hours of each work centre and day"
--! key = ["resource_id", "day"]
--! checks = ["available_hours >= 0", { expression = "load <= 1.05 or load is null", severity = "warn" }]
-- An operation is counted where it overlaps the working time, so that a pause over night is no load.
with windows as (
  select c.resource_id, c.starts_at, c.ends_at, cast(c.starts_at as date) as day, r.capacity
  from aps.calendars as c
  join aps.resources as r on r.resource_id = c.resource_id
),
available as (
  select resource_id, day, sum((extract(epoch from ends_at) - extract(epoch from starts_at)) * capacity) / 3600 as hours
  from windows
  group by resource_id, day
),
used as (
  select
    w.resource_id, w.day,
    sum(extract(epoch from least(w.ends_at, s.ends_at)) - extract(epoch from greatest(w.starts_at, s.starts_at))) / 3600 as hours,
    count(distinct s.order_id) as orders
  from windows as w
  join aps.schedule as s on s.resource_id = w.resource_id and s.starts_at < w.ends_at and s.ends_at > w.starts_at
  group by w.resource_id, w.day
)
select
  a.resource_id, a.day, a.hours as available_hours, coalesce(u.hours, 0) as scheduled_hours,
  case when a.hours > 0 then coalesce(u.hours, 0) / a.hours end as load, coalesce(u.orders, 0) as orders
from available as a
left join used as u on u.resource_id = a.resource_id and u.day = a.day
