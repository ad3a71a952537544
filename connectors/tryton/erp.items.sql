select
  cast(p.id as text) as item_id,
  coalesce(p.code, t.code) as item_number,
  t.name,
  case
    when t.type = 'service' then 'service'
    when t.salable and t.producible then 'finished'
    when t.producible then 'semi-finished'
    when t.purchasable then 'component'
    else 'raw'
  end as item_type,
  cast(t.account_category as text) as family,
  u.symbol as stock_unit,
  coalesce(t.lot_required, '') not in ('', '[]', 'null') as lot_control,
  t.shelf_life_time as shelf_life_days,
  cast(null as text) as revision,
  cast(null as text) as gtin,
  case when p.active and t.active then 'active' else 'inactive' end as status,
  cast(p.id as text) as source_id,
  cast(p.write_date as text) as source_version,
  coalesce(p.write_date, p.create_date) as changed_at
from product_product as p
join product_template as t on t.id = p.template
join product_uom as u on u.id = t.default_uom
