with lines as (
  select l.*, row_number() over (partition by l.sale order by l.sequence nulls last, l.id) as line_no
  from sale_line as l
  where l.type = 'line' and l.product is not null
)
select
  s.number as shipment_id,
  cast(row_number() over (partition by m.shipment order by m.id) as int) as line_no,
  cast(l.sale as text) as order_id,
  cast(l.line_no as int) as order_line_no,
  cast(s.customer as text) as customer_id,
  cast(m.product as text) as item_id,
  cast(s.warehouse as text) as site_id,
  cast(m.lot as text) as lot_id,
  cast(round(m.internal_quantity, 6) as decimal(18,6)) as quantity,
  arrow_cast(m.effective_date, 'Timestamp(Microsecond, Some("UTC"))') as shipped_at,
  arrow_cast(null, 'Timestamp(Microsecond, Some("UTC"))') as delivered_at,
  cast(m.id as text) as source_id,
  cast(m.write_date as text) as source_version,
  coalesce(m.write_date, m.create_date) as changed_at
from stock_move as m
join stock_shipment_out as s on m.shipment = concat('stock.shipment.out,', cast(s.id as text))
join lines as l on m.origin = concat('sale.line,', cast(l.id as text))
where m.state = 'done'
