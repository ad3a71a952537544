-- The warehouse of a location is the one whose left-right interval holds it, or the one that names it as its production location.
select
  cast(l.id as text) as location_id,
  cast(w.id as text) as site_id,
  l.name,
  case
    when l.type = 'production' then 'production'
    when l.id = w.input_location then 'receiving'
    when l.id = w.output_location then 'shipping'
    else 'storage'
  end as usage,
  l.type = 'storage' as nettable,
  cast(l.id as text) as source_id,
  cast(l.write_date as text) as source_version,
  coalesce(l.write_date, l.create_date) as changed_at
from stock_location as l
join stock_location as w
  on w.type = 'warehouse'
  and (l.parent = w.id or l.id in (w.input_location, w.output_location, w.storage_location) or l.id = w.production_location)
where l.type in ('storage', 'production')
