--! description = "Other work centres on which operations that have not begun may run, and how long they take there"
--! key = ["order_id", "operation_no", "resource_id"]
--! checks = ["duration_s >= 0"]
with routing as (
  select item_id, operation_no, work_center_id, site_id, min(run_s_per_unit) as run_s_per_unit
  from erp.routing_operations
  where supplier_id is null
  group by item_id, operation_no, work_center_id, site_id
),
speeds as (
  select work_center_id, max(efficiency) as efficiency from mes.work_centers group by work_center_id
)
select
  o.order_id, o.operation_no, r.work_center_id as resource_id,
  min(cast(ceil(cast(o.quantity_left * r.run_s_per_unit as double) / coalesce(s.efficiency, 1)) as bigint)) as duration_s
from aps.operations as o
join routing as r on r.item_id = o.item_id and r.operation_no = o.operation_no and (r.site_id is null or r.site_id = o.site_id)
left join speeds as s on s.work_center_id = r.work_center_id
where o.fixed_start is null and o.status in ('pending', 'ready') and r.work_center_id <> o.resource_id
group by o.order_id, o.operation_no, r.work_center_id
