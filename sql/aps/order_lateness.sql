--! description = "Work orders that the schedule ends after their due date, and what that comes from"
--! key = ["work_order_id"]
--! checks = ["late_hours > 0", "cause in ('material', 'resource', 'calendar', 'unit', 'fixed', 'hold', 'predecessor', 'duration')"]
with ends as (
  select
    order_id, max(order_ends_at) as ends_at, max(late_s) as late_s, max(weight) as weight, max(late_cause) as cause, max(late_reason) as reason,
    first_value(resource_id order by ends_at desc, operation_no desc) as resource_id -- where it ends
  from aps.schedule
  group by order_id
)
select
  e.order_id as work_order_id, w.item_id, w.site_id, w.remaining, w.due_date, e.ends_at,
  cast(e.late_s as double) / 3600 as late_hours, e.weight, e.resource_id, e.cause, e.reason, w.sales_order_id
from ends as e
join scm.work_orders as w on w.work_order_id = e.order_id
where e.late_s > 0
