--! description = "Lots made of which it is recorded what went into them"
--! key = ["day", "item_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Traceability"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 100.0
--! source = "domain practice: linked output lots / output lots"
--! node = "qms"
with outputs as (
  select lot_id, work_order_id, min(item_id) as item_id, min(cast(at as date)) as day
  from mes.lot_transformations
  where direction = 'output'
  group by lot_id, work_order_id
),
linked as (
  select distinct to_lot, work_order_id from qms.lot_links
)
select
  o.day, o.item_id,
  cast(sum(case when l.to_lot is not null then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from outputs as o
left join linked as l on l.to_lot = o.lot_id and l.work_order_id = o.work_order_id
group by o.day, o.item_id
