select
  cast(p.id as text) as item_id,
  u.symbol as from_unit,
  d.symbol as to_unit,
  cast(round(u.factor / d.factor, 6) as decimal(18,6)) as numerator,
  cast(1 as decimal(18,6)) as denominator,
  concat(cast(p.id as text), '/', cast(u.id as text)) as source_id,
  cast(u.write_date as text) as source_version,
  coalesce(u.write_date, u.create_date) as changed_at
from product_product as p
join product_template as t on t.id = p.template
join product_uom as d on d.id = t.default_uom
join product_uom as u on u.category = d.category
where u.id <> d.id and u.factor / d.factor >= 0.001
