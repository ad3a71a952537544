--! description = "Open work orders in the order in which they need attention: what costs most by being late, then what has least slack"
--! key = ["work_order_id"]
--! clock = "hour"
--! checks = ["rank >= 1", "remaining_hours >= 0"]
with orders as (
  select
    o.order_id, max(s.weight) as weight, min(o.due) as due, max(s.order_ends_at) as ends_at, max(s.late_s) as late_s, min(s.slack_s) as slack_s,
    sum(o.duration_s) as remaining_s, min(s.starts_at) as starts_at, max(s.problem) as problem,
    first_value(s.resource_id order by o.operation_no) as next_resource_id
  from aps.operations as o
  join aps.schedule as s on s.order_id = o.order_id and s.operation_no = o.operation_no
  group by o.order_id
)
select
  -- what cannot be scheduled comes first: somebody has to mend it
  row_number() over (
    order by ends_at is null desc, coalesce(late_s, 0) * weight desc, coalesce(slack_s, 0), due nulls last, order_id
  ) as rank,
  order_id as work_order_id, weight, due, ends_at, cast(late_s as double) / 3600 as late_hours, cast(slack_s as double) / 3600 as slack_hours,
  cast(remaining_s as double) / 3600 as remaining_hours,
  -- time until the due date for each hour of work: below 1 it cannot be in time
  case when remaining_s > 0 then (extract(epoch from due) - extract(epoch from now())) / remaining_s end as critical_ratio,
  starts_at, next_resource_id, problem
from orders
