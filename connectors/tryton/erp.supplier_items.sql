with prices as (
  select product_supplier, quantity, min(unit_price) as unit_price
  from purchase_product_supplier_price where unit_price is not null group by product_supplier, quantity
)
select
  cast(s.party as text) as supplier_id,
  cast(s.product as text) as item_id,
  cast(w.id as text) as site_id,
  cast(s.create_date as date) as valid_from,
  cast(null as date) as valid_to,
  cast(round(r.quantity, 6) as decimal(18,6)) as min_quantity,
  cast(r.unit_price as decimal(18,6)) as price,
  y.code as currency,
  case when s.lead_time like '% day%' then cast(regexp_replace(s.lead_time, ' day.*$', '') as int) else 0 end as lead_time_days,
  cast(null as decimal(18,6)) as multiple,
  cast(null as double) as share,
  s.code as supplier_item_number,
  cast(s.id as text) as source_id,
  cast(s.write_date as text) as source_version,
  coalesce(s.write_date, s.create_date) as changed_at
from purchase_product_supplier as s
join prices as r on r.product_supplier = s.id
join currency_currency as y on y.id = s.currency
cross join (select id from stock_location where type = 'warehouse') as w
where s.active and s.product is not null
