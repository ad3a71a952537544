with steps as (
  select w.*, row_number() over (partition by w.production order by w.sequence nulls last, w.id) * 10 as operation_no
  from production_work as w
)
select
  cast(w.production as text) as work_order_id,
  cast(w.operation_no as int) as operation_no,
  cast(w.work_center as text) as work_center_id,
  o.name,
  cast(round(p.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  case when w.state in ('finished', 'done') then cast(round(p.quantity * u.factor / d.factor, 6) as decimal(18,6)) end as good,
  cast(null as bigint) as setup_s,
  cast(null as decimal(18,6)) as run_s_per_unit,
  arrow_cast(p.planned_start_date, 'Timestamp(Microsecond, Some("UTC"))') as planned_start,
  arrow_cast(p.planned_date, 'Timestamp(Microsecond, Some("UTC"))') as planned_end,
  case when w.state in ('running', 'finished', 'done') then arrow_cast(p.effective_start_date, 'Timestamp(Microsecond, Some("UTC"))') end as actual_start,
  case when w.state in ('finished', 'done') then arrow_cast(coalesce(p.effective_date, p.effective_start_date), 'Timestamp(Microsecond, Some("UTC"))') end as actual_end,
  cast(null as bigint) as remaining_s,
  cast(null as boolean) as locked,
  case w.state when 'request' then 'pending' when 'draft' then 'ready' when 'waiting' then 'ready' when 'running' then 'started' when 'finished' then 'completed' when 'done' then 'completed' when 'cancelled' then 'cancelled' end as status,
  cast(w.id as text) as source_id,
  cast(w.write_date as text) as source_version,
  coalesce(w.write_date, w.create_date) as changed_at
from steps as w
join production as p on p.id = w.production
left join production_routing_operation as o on o.id = w.operation
join product_product as i on i.id = p.product
join product_template as t on t.id = i.template
join product_uom as u on u.id = p.unit
join product_uom as d on d.id = t.default_uom
where w.work_center is not null and p.product is not null
