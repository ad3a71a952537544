--! description = "Planned time for the good quantity, of the time in which work centres were meant to produce: availability x effectiveness x quality ratio"
--! key = ["day", "work_center_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "OEE"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 70.0
--! source = "ISO 22400-2: PRI x GQ / PBT"
--! node = "mes"
with routing as (
  select item_id, operation_no, min(cast(run_s_per_unit as double)) as run_s from erp.routing_operations where alternative = 1 group by item_id, operation_no
),
reported as (
  select
    c.work_center_id, cast(c.started_at as date) as day,
    cast(c.good as double) as good, cast(c.good + c.scrap + c.rework as double) as produced,
    coalesce(cast(o.run_s_per_unit as double), r.run_s) as run_s,
    extract(epoch from c.ended_at) - extract(epoch from c.started_at) - coalesce(c.setup_s, 0) as seconds
  from mes.confirmations as c
  left join mes.operations as o on o.system = c.system and o.work_order_id = c.work_order_id and o.operation_no = c.operation_no
  left join mes.work_orders as w on w.system = c.system and w.work_order_id = c.work_order_id
  left join routing as r on r.item_id = w.item_id and r.operation_no = c.operation_no
),
value_added as (
  select day, work_center_id, sum(run_s * good) as seconds from reported where run_s is not null group by day, work_center_id
),
busy as (
  select day, work_center_id, sum(producing_s + setup_s + down_s + idle_s) as seconds from aps.machine_time group by day, work_center_id
)
select b.day, b.work_center_id, coalesce(v.seconds, 0) as numerator, cast(b.seconds as double) as denominator
from busy as b
left join value_added as v on v.day = b.day and v.work_center_id = b.work_center_id
