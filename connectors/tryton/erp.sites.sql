select
  cast(w.id as text) as site_id,
  w.name,
  'plant' as kind,
  cast(null as text) as calendar_id,
  coalesce(c.timezone, 'UTC') as time_zone,
  y.code as currency,
  cast(w.id as text) as source_id,
  cast(w.write_date as text) as source_version,
  coalesce(w.write_date, w.create_date) as changed_at
from stock_location as w
cross join company_company as c
join currency_currency as y on y.id = c.currency
where w.type = 'warehouse'
