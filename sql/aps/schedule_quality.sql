--! description = "How good the schedule is: its objective, what no schedule can be below, the proven gap, and what it was searched with"
--! key = ["seed"]
--! checks = ["lower_bound <= objective", "gap between 0 and 1"]
with orders as (
  select order_id, max(late_s) as late_s, max(weight) as weight from aps.schedule group by order_id
),
lateness as (
  select
    count(*) as orders, sum(case when late_s > 0 then 1 else 0 end) as late_orders, cast(coalesce(sum(late_s), 0) as double) / 3600 as late_hours,
    cast(coalesce(sum(late_s * weight), 0) as double) / 3600 as weighted_late_hours
  from orders
)
select
  s.seed, max(s.objective) as objective, max(s.lower_bound) as lower_bound, max(s.gap) as gap, max(s.iterations) as iterations,
  count(*) as operations, sum(case when s.starts_at is null then 1 else 0 end) as unscheduled, count(s.problem) as problems,
  sum(case when s.moved_s <> 0 then 1 else 0 end) as moved, cast(coalesce(sum(s.setup_s), 0) as double) / 3600 as setup_hours,
  max(s.ends_at) as ends_at, max(l.orders) as orders, max(l.late_orders) as late_orders, max(l.late_hours) as late_hours,
  max(l.weighted_late_hours) as weighted_late_hours
from aps.schedule as s
cross join lateness as l
group by s.seed
