--! description = "When each work centre, tool and skill works, from yesterday to 60 days ahead; closed periods cut out"
--! key = ["resource_id", "starts_at"]
--! clock = "day"
--! checks = ["ends_at > starts_at"]
with centers as (
  select w.work_center_id as resource_id, coalesce(w.calendar_id, s.calendar_id) as calendar_id
  from mes.work_centers as w
  left join erp.sites as s on s.site_id = w.site_id
  union
  select r.resource_id, coalesce(r.calendar_id, s.calendar_id)
  from mes.resources as r
  left join erp.sites as s on s.site_id = r.site_id
),
periods as (
  select c.resource_id, p.starts_at, p.ends_at, p.kind
  from centers as c
  join erp.calendars as p on p.calendar_id = c.calendar_id
  where p.ends_at > now() - interval '1 day' and p.starts_at < now() + interval '60 days'
),
working as (
  select resource_id, starts_at, ends_at from periods where kind in ('working', 'overtime')
),
closed as (
  select resource_id, starts_at, ends_at from periods where kind = 'closed'
),
-- what is left of a working period begins where it begins, or where a closed one ends
begins as (
  select resource_id, starts_at, ends_at from working
  union
  select w.resource_id, c.ends_at, w.ends_at
  from working as w
  join closed as c on c.resource_id = w.resource_id and c.ends_at > w.starts_at and c.ends_at < w.ends_at
),
open_begins as (
  select b.resource_id, b.starts_at, b.ends_at
  from begins as b
  left join closed as c on c.resource_id = b.resource_id and c.starts_at <= b.starts_at and c.ends_at > b.starts_at
  where c.resource_id is null
),
pieces as (
  select b.resource_id, b.starts_at, least(b.ends_at, coalesce(min(c.starts_at), b.ends_at)) as ends_at
  from open_begins as b
  left join closed as c on c.resource_id = b.resource_id and c.starts_at > b.starts_at and c.starts_at < b.ends_at
  group by b.resource_id, b.starts_at, b.ends_at
)
select resource_id, starts_at, max(ends_at) as ends_at -- of two that overlap, the longer
from pieces
group by resource_id, starts_at
