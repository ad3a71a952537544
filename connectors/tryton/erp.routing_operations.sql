-- A routing step has no times in Tryton. The run time is what done work cycles took per unit, by operation: 0 where nothing was done yet.
with cycles as (
  select
    w.operation,
    w.production,
    cast(split_part(c.duration, ':', 1) as double) * 3600 + cast(split_part(c.duration, ':', 2) as double) * 60 as seconds
  from production_work_cycle as c
  join production_work as w on w.id = c.work
  where c.state = 'done' and regexp_like(c.duration, '^[0-9]+:[0-9]+')
),
times as (
  select c.operation, pr.product, sum(c.seconds) / sum(pr.quantity) as run_s
  from cycles as c join production as pr on pr.id = c.production
  where pr.quantity > 0
  group by c.operation, pr.product
),
centers as (
  select category, min(id) as id from production_work_center where active and category is not null group by category
)
select
  concat(cast(x.routing as text), '/', cast(x.product as text)) as routing_id,
  cast(row_number() over (partition by x.routing, x.product order by s.sequence nulls last, s.id) * 10 as int) as operation_no,
  cast(1 as int) as alternative,
  cast(x.product as text) as item_id,
  cast(null as text) as site_id,
  cast(c.id as text) as work_center_id,
  o.name,
  cast(0 as bigint) as setup_s,
  cast(round(coalesce(m.run_s, 0), 6) as decimal(18,6)) as run_s_per_unit,
  cast(null as bigint) as queue_s,
  cast(null as boolean) as overlap,
  cast(null as text) as supplier_id,
  cast(s.id as text) as source_id,
  cast(s.write_date as text) as source_version,
  coalesce(s.write_date, s.create_date) as changed_at
from product_bom as x
join production_routing_step as s on s.routing = x.routing
join production_routing_operation as o on o.id = s.operation
join centers as c on c.category = o.work_center_category
left join times as m on m.operation = o.id and m.product = x.product
