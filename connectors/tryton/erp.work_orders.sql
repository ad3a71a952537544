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
  p.number as order_number,
  cast(p.product as text) as item_id,
  cast(p.warehouse as text) as site_id,
  cast(round(p.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  cast(round(coalesce(o.good, 0), 6) as decimal(18,6)) as received,
  coalesce(p.effective_start_date, p.planned_start_date) as start_date,
  coalesce(p.planned_date, p.effective_date, cast(p.create_date as date)) as due_date,
  case when p.origin like 'sale.line,%' then cast(l.sale as text) end as sales_order_id,
  cast(null as text) as external_ref,
  case when p.state in ('running', 'done') then arrow_cast(p.effective_start_date, 'Timestamp(Microsecond, Some("UTC"))') end as released_at,
  case p.state when 'request' then 'planned' when 'draft' then 'planned' when 'waiting' then 'firm' when 'assigned' then 'released' when 'running' then 'released' when 'done' then 'completed' when 'cancelled' then 'cancelled' end as status,
  cast(p.id as text) as source_id,
  cast(p.write_date as text) as source_version,
  coalesce(p.write_date, p.create_date) as changed_at
from production as p
join product_product as i on i.id = p.product
join product_template as t on t.id = i.template
join product_uom as u on u.id = p.unit
join product_uom as d on d.id = t.default_uom
left join outputs as o on o.production = p.id
left join sale_line as l on p.origin = concat('sale.line,', cast(l.id as text))
where p.product is not null
