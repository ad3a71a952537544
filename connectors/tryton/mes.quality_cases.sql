with outputs as (
  select production_output as production, min(product) as product, min(lot) as lot from stock_move where production_output is not null group by production_output
)
select
  cast(a.id as text) as case_id,
  'nonconformance' as kind,
  cast(o.product as text) as item_id,
  cast(o.lot as text) as lot_id,
  l.number as lot_number,
  a.title as defect_code,
  cast(null as text) as owner,
  cast(null as text) as disposition,
  case a.state when 'open' then 'open' when 'processing' then 'contained' when 'deferred' then 'contained' when 'resolved' then 'closed' end as status,
  a.create_date as opened_at,
  cast(null as date) as due_date,
  case when a.state = 'resolved' then a.write_date end as closed_at,
  cast(a.id as text) as source_id,
  cast(a.write_date as text) as source_version,
  coalesce(a.write_date, a.create_date) as changed_at
from quality_alert as a
left join quality_inspection as i on a.origin = concat('quality.inspection,', cast(i.id as text))
left join outputs as o on i.origin = concat('production,', cast(o.production as text))
left join stock_lot as l on l.id = o.lot
