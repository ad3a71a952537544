--! description = "Operations still to be done: time left, earliest start, due date"
--! key = ["order_id", "operation_no"]
--! clock = "hour"
--! checks = ["duration_s >= 0", "setup_s >= 0", "fixed_end >= fixed_start or fixed_start is null"]
with orders as (
  select w.*, i.family
  from scm.work_orders as w
  join erp.items as i on i.item_id = w.item_id
  where coalesce(w.mes_status, 'planned') <> 'completed'
),
routing as (
  select
    item_id, operation_no, work_center_id, setup_s, run_s_per_unit, queue_s,
    row_number() over (partition by item_id, operation_no order by alternative, routing_id, work_center_id) as nth
  from erp.routing_operations
  where supplier_id is null
),
from_floor as (
  select
    o.work_order_id, p.operation_no, p.work_center_id, p.status, p.actual_start, p.planned_start, p.planned_end,
    coalesce(p.locked, false) as locked, p.remaining_s,
    greatest(0, coalesce(p.quantity, o.quantity - o.scrap) - coalesce(p.good, 0)) as quantity_left,
    coalesce(p.setup_s, r.setup_s, 0) as setup_s, coalesce(p.run_s_per_unit, r.run_s_per_unit, 0) as run_s_per_unit
  from orders as o
  join mes.operations as p on p.work_order_id = o.work_order_id
  left join routing as r on r.item_id = o.item_id and r.operation_no = p.operation_no and r.nth = 1
  where p.status in ('pending', 'ready', 'started', 'paused')
),
-- orders that the shop floor does not know yet take capacity all the same
from_routing as (
  select
    o.work_order_id, r.operation_no, r.work_center_id, 'pending' as status, cast(null as timestamp(6) with time zone) as actual_start,
    cast(null as timestamp(6) with time zone) as planned_start, cast(null as timestamp(6) with time zone) as planned_end,
    false as locked, cast(null as bigint) as remaining_s, o.remaining as quantity_left, r.setup_s, r.run_s_per_unit
  from orders as o
  join routing as r on r.item_id = o.item_id and r.nth = 1
  left join (select distinct work_order_id from mes.operations) as f on f.work_order_id = o.work_order_id
  where not o.on_shop_floor and f.work_order_id is null
),
operations as (
  select * from from_floor
  union all
  select * from from_routing
),
readiness as (
  -- no supply in sight: as if it came in 60 days, behind everything that can be made
  select work_order_id, max(coalesce(ready_on, current_date + 60)) as ready_on from aps.material_readiness group by work_order_id
),
timed as (
  select
    o.*,
    cast(ceil(coalesce(
      cast(o.remaining_s as double),
      cast(o.quantity_left * o.run_s_per_unit as double) / coalesce(c.efficiency, 1)
    )) as bigint) as duration_s
  from operations as o
  left join mes.work_centers as c on c.work_center_id = o.work_center_id
)
select
  t.work_order_id as order_id, cast(t.operation_no as bigint) as operation_no, t.work_center_id as resource_id,
  t.duration_s,
  -- what has begun has its material
  case
    when t.status in ('started', 'paused') then cast(now() as timestamp(6) with time zone)
    when o.mes_status in ('released', 'started') then cast(greatest(now(), cast(coalesce(r.ready_on, current_date) as timestamp(6) with time zone)) as timestamp(6) with time zone)
    else cast(greatest(now(), cast(greatest(coalesce(r.ready_on, current_date), coalesce(o.start_date, current_date)) as timestamp(6) with time zone)) as timestamp(6) with time zone)
  end as release,
  cast(cast(o.due_date + 1 as date) as timestamp(6) with time zone) as due, -- until the end of the day
  cast(coalesce(l.priority, 9) as bigint) as priority,
  case when t.status = 'started' then t.actual_start when t.locked then t.planned_start end as fixed_start,
  case
    when t.status = 'started' then cast(to_timestamp_micros(cast(extract(epoch from greatest(now(), t.actual_start)) * 1000000 as bigint) + t.duration_s * 1000000) as timestamp(6) with time zone)
    when t.locked then greatest(t.planned_start, t.planned_end)
  end as fixed_end,
  -- where the floor has it now, so that a schedule moves only what is worth it
  case when t.status in ('pending', 'ready') then t.planned_start end as planned_start,
  o.family, case when t.status in ('started', 'paused') then 0 else cast(t.setup_s as bigint) end as setup_s,
  o.item_id, o.site_id, t.status, t.quantity_left
from timed as t
join orders as o on o.work_order_id = t.work_order_id
left join readiness as r on r.work_order_id = t.work_order_id
left join (select order_id, min(priority) as priority from scm.order_lines group by order_id) as l on l.order_id = o.sales_order_id
