select
  cast(i.bom as text) as bom_id,
  '' as revision,
  cast(row_number() over (partition by i.bom order by i.id) as int) as line_no,
  cast(i.product as text) as item_id,
  cast(round(i.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  'component' as role,
  cast(null as double) as scrap_ratio,
  cast(null as int) as operation_no,
  cast(null as date) as valid_from,
  cast(null as date) as valid_to,
  cast(i.id as text) as source_id,
  cast(i.write_date as text) as source_version,
  coalesce(i.write_date, i.create_date) as changed_at
from production_bom_input as i
join production_bom as b on b.id = i.bom
join product_product as p on p.id = i.product
join product_template as t on t.id = p.template
join product_uom as u on u.id = i.unit
join product_uom as d on d.id = t.default_uom
where b.active
