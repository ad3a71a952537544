--! description = "Work orders that the schedule ends after their due date, with the reason"
--! key = ["work_order_id"]
with ends as (
  select
    order_id, max(order_ends_at) as ends_at, max(late_s) as late_s,
    -- the reason of the operation that ends last
    first_value(reason order by ends_at desc, operation_no desc) as reason,
    first_value(resource_id order by ends_at desc, operation_no desc) as resource_id
  from aps.schedule
  group by order_id
)
select
  e.order_id as work_order_id, w.item_id, w.site_id, w.remaining, w.due_date, e.ends_at,
  cast(e.late_s as double) / 3600 as late_hours, e.resource_id, e.reason, w.sales_order_id
from ends as e
join scm.work_orders as w on w.work_order_id = e.order_id
where e.late_s > 0
