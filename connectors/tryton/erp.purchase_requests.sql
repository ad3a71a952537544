select
  cast(r.id as text) as request_id,
  cast(1 as int) as line_no,
  cast(r.product as text) as item_id,
  cast(r.warehouse as text) as site_id,
  cast(round(r.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  coalesce(r.supply_date, r.purchase_date, cast(r.create_date as date)) as needed_date,
  cast(r.party as text) as supplier_id,
  case r.state when 'draft' then 'proposed' when 'quotation' then 'approved' when 'purchased' then 'ordered' when 'done' then 'ordered' when 'cancelled' then 'cancelled' when 'exception' then 'rejected' end as status,
  cast(null as text) as external_ref,
  cast(l.purchase as text) as order_id,
  r.create_date as created_at,
  cast(r.id as text) as source_id,
  cast(r.write_date as text) as source_version,
  coalesce(r.write_date, r.create_date) as changed_at
from purchase_request as r
join product_product as p on p.id = r.product
join product_template as t on t.id = p.template
join product_uom as u on u.id = r.unit
join product_uom as d on d.id = t.default_uom
left join purchase_line as l on l.id = r.purchase_line
