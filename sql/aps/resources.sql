--! description = "How many operations each work centre does at once, and the family it was set up for last"
--! key = ["resource_id"]
--! checks = ["capacity >= 1"]
with runs as (
  select
    work_center_id, work_order_id,
    row_number() over (partition by work_center_id order by coalesce(actual_end, actual_start) desc, work_order_id, operation_no) as nth
  from mes.operations
  where actual_start is not null
),
families as (
  select r.work_center_id, max(i.family) as family
  from runs as r
  join mes.work_orders as o on o.work_order_id = r.work_order_id
  join erp.items as i on i.item_id = o.item_id
  where r.nth = 1
  group by r.work_center_id
),
centers as (
  select work_center_id, max(capacity) as capacity from mes.work_centers group by work_center_id
)
select
  c.work_center_id as resource_id, cast(greatest(1, least(1000, floor(cast(c.capacity as double)))) as bigint) as capacity, f.family
from centers as c
left join families as f on f.work_center_id = c.work_center_id
