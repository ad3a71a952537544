with lines as (
  select
    l.*, row_number() over (partition by l.opportunity order by l.sequence nulls last, l.id) as line_no
  from sale_opportunity_line as l
),
sales as (
  select cast(split_part(origin, ',', 2) as int) as opportunity, min(id) as sale
  from sale_sale where origin like 'sale.opportunity,%' group by 1
)
select
  cast(o.id as text) as opportunity_id,
  cast(coalesce(l.line_no, 1) as int) as line_no,
  cast(o.party as text) as customer_id,
  cast(l.product as text) as item_id,
  cast(round(l.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  o.conversion_probability as probability,
  coalesce(o.end_date, o.start_date) as close_date,
  cast(null as date) as wanted_date,
  case o.state when 'lead' then 'open' when 'opportunity' then 'open' when 'converted' then 'won' when 'won' then 'won' when 'lost' then 'lost' when 'cancelled' then 'lost' end as stage,
  cast(s.sale as text) as order_id,
  cast(o.employee as text) as owner,
  cast(o.id as text) as source_id,
  cast(o.write_date as text) as source_version,
  coalesce(o.write_date, o.create_date) as changed_at
from sale_opportunity as o
left join lines as l on l.opportunity = o.id
left join product_product as p on p.id = l.product
left join product_template as t on t.id = p.template
left join product_uom as u on u.id = l.unit
left join product_uom as d on d.id = t.default_uom
left join sales as s on s.opportunity = o.id
where o.party is not null
