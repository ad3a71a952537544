select
  cast(b.id as text) as bom_id,
  '' as revision,
  cast(x.product as text) as item_id,
  cast(null as text) as site_id,
  cast(round(coalesce(o.quantity, 1), 6) as decimal(18,6)) as base_quantity,
  cast(null as date) as valid_from,
  cast(null as date) as valid_to,
  cast(row_number() over (partition by x.product order by x.sequence nulls last, x.id) as int) as priority,
  coalesce(b.phantom, false) as phantom,
  cast(b.id as text) as source_id,
  cast(b.write_date as text) as source_version,
  coalesce(b.write_date, b.create_date) as changed_at
from production_bom as b
join product_bom as x on x.bom = b.id
left join production_bom_output as o on o.bom = b.id and o.product = x.product
where b.active
