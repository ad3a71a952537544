-- Tryton computes a line's dates from its stock moves when it shows them; here they come from the moves to the customer.
with lines as (
  select
    l.*, row_number() over (partition by l.sale order by l.sequence nulls last, l.id) as line_no
  from sale_line as l
  where l.type = 'line' and l.product is not null
),
moves as (
  select
    cast(split_part(origin, ',', 2) as int) as line,
    sum(case when state = 'done' then internal_quantity else 0 end) as shipped,
    min(origin_planned_date) as first_promised,
    max(planned_date) as promised,
    bool_or(state in ('draft', 'assigned')) as waiting
  from stock_move
  where origin like 'sale.line,%' and state <> 'cancelled'
  group by 1
)
select
  cast(s.id as text) as order_id,
  cast(l.line_no as int) as line_no,
  cast(1 as int) as schedule_no,
  s.number as order_number,
  cast(s.id as text) as request_id,
  cast(s.party as text) as customer_id,
  s.reference as customer_po,
  cast(l.product as text) as item_id,
  cast(s.warehouse as text) as site_id,
  cast(round(l.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  cast(round(coalesce(m.shipped, 0), 6) as decimal(18,6)) as shipped,
  cast(round(l.unit_price * d.factor / u.factor, 6) as decimal(18,6)) as price,
  y.code as currency,
  coalesce(arrow_cast(s.sale_date, 'Timestamp(Microsecond, Some("UTC"))'), s.create_date) as ordered_at,
  coalesce(s.shipping_date, m.promised, s.sale_date, cast(s.create_date as date)) as requested_date,
  coalesce(m.first_promised, m.promised, s.shipping_date) as first_promised,
  coalesce(m.promised, s.shipping_date) as promised,
  cast(null as int) as priority,
  case s.state
    when 'draft' then 'draft' when 'quotation' then 'draft'
    when 'confirmed' then 'confirmed'
    when 'processing' then case when coalesce(m.waiting, true) then 'confirmed' else 'shipped' end
    when 'done' then 'closed' when 'cancelled' then 'cancelled'
  end as status,
  cast(l.id as text) as source_id,
  cast(l.write_date as text) as source_version,
  coalesce(l.write_date, l.create_date) as changed_at
from sale_sale as s
join lines as l on l.sale = s.id
join product_product as p on p.id = l.product
join product_template as t on t.id = p.template
join product_uom as u on u.id = l.unit
join product_uom as d on d.id = t.default_uom
left join currency_currency as y on y.id = s.currency
left join moves as m on m.line = l.id
where s.state in ('confirmed', 'processing', 'done', 'cancelled') and l.quantity > 0
