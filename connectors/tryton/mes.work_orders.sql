with outputs as (
  select
    m.production_output as production,
    sum(case when t.type <> 'lost_found' then m.internal_quantity else 0 end) as good,
    sum(case when t.type = 'lost_found' then m.internal_quantity else 0 end) as scrap
  from stock_move as m
  join stock_location as t on t.id = m.to_location
  where m.production_output is not null and m.state = 'done'
  group by m.production_output
)
select
  cast(p.id as text) as work_order_id,
  cast(p.id as text) as external_ref,
  cast(p.product as text) as item_id,
  cast(p.warehouse as text) as site_id,
  cast(round(p.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  cast(round(coalesce(o.good, 0), 6) as decimal(18,6)) as good,
  cast(round(coalesce(o.scrap, 0), 6) as decimal(18,6)) as scrap,
  p.planned_date as due_date,
  case p.state when 'request' then 'planned' when 'draft' then 'planned' when 'waiting' then 'planned' when 'assigned' then 'released' when 'running' then 'started' when 'done' then 'completed' when 'cancelled' then 'cancelled' end as status,
  cast(null as boolean) as firm,
  p.origin as demand_ref,
  arrow_cast(p.effective_start_date, 'Timestamp(Microsecond, Some("UTC"))') as started_at,
  arrow_cast(p.effective_date, 'Timestamp(Microsecond, Some("UTC"))') as completed_at,
  cast(p.id as text) as source_id,
  cast(p.write_date as text) as source_version,
  coalesce(p.write_date, p.create_date) as changed_at
from production as p
join product_product as i on i.id = p.product
join product_template as t on t.id = i.template
join product_uom as u on u.id = p.unit
join product_uom as d on d.id = t.default_uom
left join outputs as o on o.production = p.id
where p.product is not null
