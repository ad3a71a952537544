-- An inspection keeps the values of its points as one JSON object.
with outputs as (
  select production_output as production, min(lot) as lot from stock_move where production_output is not null and lot is not null group by production_output
),
origins as (
  select
    i.*,
    case when i.origin like 'production,%' then cast(split_part(i.origin, ',', 2) as int) end as production
  from quality_inspection as i
)
select
  concat(cast(i.id as text), '/', k.name) as measurement_id,
  cast(k.id as text) as characteristic_id,
  cast(regexp_replace(i.points, concat('^.*"', k.name, '": (-?[0-9.]+(e-?[0-9]+)?).*$'), '\1') as double) as value,
  cast(p.product as text) as item_id,
  cast(o.lot as text) as lot_id,
  cast(i.production as text) as work_order_id,
  cast(p.work_center as text) as work_center_id,
  cast(null as text) as subgroup,
  coalesce(arrow_cast(p.effective_date, 'Timestamp(Microsecond, Some("UTC"))'), i.processed_at, i.create_date) as at,
  cast(i.id as text) as source_id,
  cast(i.write_date as text) as source_version,
  coalesce(i.write_date, i.create_date) as changed_at
from origins as i
join quality_control_point as k on k.control = i.control and k.type_ <> 'boolean'
left join production as p on p.id = i.production
left join outputs as o on o.production = i.production
where regexp_like(i.points, concat('"', k.name, '": -?[0-9]'))
