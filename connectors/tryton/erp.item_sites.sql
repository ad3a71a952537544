-- Lead times are intervals: of the preferred supplier for bought items, of the bill of materials for made ones.
with supplier_days as (
  select product, min(case when lead_time like '% day%' then cast(regexp_replace(lead_time, ' day.*$', '') as int) else 0 end) as days
  from purchase_product_supplier where active and product is not null and lead_time is not null group by product
),
make_days as (
  select product, max(case when lead_time like '% day%' then cast(regexp_replace(lead_time, ' day.*$', '') as int) else 0 end) as days
  from production_lead_time where lead_time is not null group by product
),
points as (
  select product, location, max(min_quantity) as min_quantity from stock_order_point group by product, location
)
select
  cast(p.id as text) as item_id,
  cast(w.id as text) as site_id,
  case when t.producible then 'make' else 'buy' end as make_buy_transfer,
  case when o.product is null then 'mrp' else 'reorder-point' end as planning_method,
  coalesce(case when t.producible then m.days end, s.days, 0) as lead_time_days,
  'lot-for-lot' as lot_rule,
  cast(null as decimal(18,6)) as lot_min,
  cast(null as decimal(18,6)) as lot_multiple,
  cast(round(o.min_quantity, 6) as decimal(18,6)) as safety_stock,
  cast(null as int) as demand_fence_days,
  cast(null as int) as planning_fence_days,
  cast(null as text) as planner,
  cast(p.id as text) as source_id,
  cast(p.write_date as text) as source_version,
  coalesce(p.write_date, p.create_date) as changed_at
from product_product as p
join product_template as t on t.id = p.template
cross join (select id from stock_location where type = 'warehouse') as w
left join supplier_days as s on s.product = p.id
left join make_days as m on m.product = p.id
left join points as o on o.product = p.id and o.location = w.id
where t.type = 'goods'
