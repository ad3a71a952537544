-- A sale is a request until it is confirmed; after that it is its own order.
with lines as (
  select
    l.*, row_number() over (partition by l.sale order by l.sequence nulls last, l.id) as line_no
  from sale_line as l
  where l.type = 'line' and l.product is not null
)
select
  cast(s.id as text) as request_id,
  cast(l.line_no as int) as line_no,
  cast(s.party as text) as customer_id,
  s.reference as customer_po,
  cast(l.product as text) as item_id,
  cast(s.warehouse as text) as site_id,
  cast(round(l.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  coalesce(s.shipping_date, s.sale_date, cast(s.create_date as date)) as requested_date,
  case s.state when 'draft' then 'draft' when 'quotation' then 'quoted' when 'confirmed' then 'won' when 'processing' then 'won' when 'done' then 'won' when 'cancelled' then 'cancelled' end as status,
  coalesce(arrow_cast(s.sale_date, 'Timestamp(Microsecond, Some("UTC"))'), s.create_date) as created_at,
  case when s.state in ('confirmed', 'processing', 'done') then coalesce(arrow_cast(s.sale_date, 'Timestamp(Microsecond, Some("UTC"))'), s.create_date) end as won_at,
  case when s.state in ('confirmed', 'processing', 'done') then cast(s.id as text) end as erp_order_id,
  case when s.state in ('confirmed', 'processing', 'done') then cast(l.line_no as int) end as erp_line_no,
  cast(null as date) as promised,
  cast(null as text) as owner,
  cast(l.id as text) as source_id,
  cast(l.write_date as text) as source_version,
  coalesce(l.write_date, l.create_date) as changed_at
from sale_sale as s
join lines as l on l.sale = s.id
join product_product as p on p.id = l.product
join product_template as t on t.id = p.template
join product_uom as u on u.id = l.unit
join product_uom as d on d.id = t.default_uom
where l.quantity > 0
