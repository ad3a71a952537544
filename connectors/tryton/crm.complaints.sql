-- A complaint names a sale or one of its lines; the lot stands in its text only.
with lines as (
  select
    l.*, row_number() over (partition by l.sale order by l.sequence nulls last, l.id) as line_no
  from sale_line as l
  where l.type = 'line' and l.product is not null
)
select
  cast(c.id as text) as complaint_id,
  cast(1 as int) as line_no,
  cast(c.customer as text) as customer_id,
  case when c.origin like 'sale.sale,%' then split_part(c.origin, ',', 2) else cast(l.sale as text) end as order_id,
  cast(null as text) as shipment_id,
  cast(l.product as text) as item_id,
  cast(o.id as text) as lot_id,
  o.number as lot_number,
  cast(null as decimal(18,6)) as quantity,
  y.name as defect_code,
  'major' as severity,
  arrow_cast(c.date, 'Timestamp(Microsecond, Some("UTC"))') as received_at,
  case c.state when 'draft' then 'open' when 'waiting' then 'investigating' when 'approved' then 'justified' when 'done' then 'justified' when 'rejected' then 'rejected' when 'cancelled' then 'closed' end as status,
  cast(c.id as text) as source_id,
  cast(c.write_date as text) as source_version,
  coalesce(c.write_date, c.create_date) as changed_at
from sale_complaint as c
left join sale_complaint_type as y on y.id = c.type
left join lines as l on c.origin = concat('sale.line,', cast(l.id as text))
left join stock_lot as o on o.product = l.product and strpos(c.description, concat('lot ', o.number, ',')) > 0
