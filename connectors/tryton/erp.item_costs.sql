select
  cast(c.product as text) as item_id,
  cast(w.id as text) as site_id,
  'standard' as kind,
  cast(c.create_date as date) as valid_from,
  cast(c.cost_price as decimal(18,6)) as amount,
  y.code as currency,
  cast(1 as decimal(18,6)) as per_quantity,
  cast(c.id as text) as source_id,
  cast(c.write_date as text) as source_version,
  coalesce(c.write_date, c.create_date) as changed_at
from product_cost_price as c
join company_company as k on k.id = c.company
join currency_currency as y on y.id = k.currency
cross join (select id from stock_location where type = 'warehouse') as w
where c.cost_price is not null
