select
  cast(m.id as text) as event_id,
  cast(1 as int) as line_no,
  cast(coalesce(m.production_input, m.production_output) as text) as work_order_id,
  cast(null as text) as batch,
  case when m.production_input is not null then 'input' else 'output' end as direction,
  cast(m.product as text) as item_id,
  cast(m.lot as text) as lot_id,
  l.number as lot_number,
  cast(round(m.internal_quantity, 6) as decimal(18,6)) as quantity,
  arrow_cast(m.effective_date, 'Timestamp(Microsecond, Some("UTC"))') as at,
  'recorded' as origin,
  cast(m.id as text) as source_id,
  cast(m.write_date as text) as source_version,
  coalesce(m.write_date, m.create_date) as changed_at
from stock_move as m
join stock_lot as l on l.id = m.lot
where m.state = 'done' and (m.production_input is not null or m.production_output is not null)
