with lines as (
  select l.*, row_number() over (partition by l.purchase order by l.sequence nulls last, l.id) as line_no
  from purchase_line as l
  where l.type = 'line' and l.product is not null
),
bought as (
  select
    split_part(m.shipment, ',', 2) as receipt_id, row_number() over (partition by m.shipment order by m.id) as line_no,
    'purchase' as kind, cast(l.purchase as text) as order_id, l.line_no as order_line_no, cast(null as text) as work_order_id,
    cast(s.supplier as text) as supplier_id, s.warehouse, m.*
  from stock_move as m
  join stock_shipment_in as s on m.shipment = concat('stock.shipment.in,', cast(s.id as text))
  join lines as l on m.origin = concat('purchase.line,', cast(l.id as text))
  where m.state = 'done'
),
made as (
  select
    concat('production ', cast(m.production_output as text)) as receipt_id, row_number() over (partition by m.production_output order by m.id) as line_no,
    'production' as kind, cast(null as text) as order_id, cast(null as bigint) as order_line_no, cast(m.production_output as text) as work_order_id,
    cast(null as text) as supplier_id, p.warehouse, m.*
  from stock_move as m
  join production as p on p.id = m.production_output
  join stock_location as t on t.id = m.to_location
  where m.state = 'done' and t.type = 'storage'
),
both as (
  select receipt_id, line_no, kind, order_id, order_line_no, work_order_id, supplier_id, warehouse, id, product, lot, internal_quantity, effective_date, write_date, create_date from bought
  union all
  select receipt_id, line_no, kind, order_id, order_line_no, work_order_id, supplier_id, warehouse, id, product, lot, internal_quantity, effective_date, write_date, create_date from made
),
-- what an inspection says of a receipt; where the receipt has several lines, it does not say of which
inspected as (
  select split_part(origin, ',', 2) as receipt_id, bool_or(state = 'failed') as failed
  from quality_inspection
  where origin like 'stock.shipment.in,%' and state in ('passed', 'failed')
  group by 1
),
single as (
  select receipt_id from both where kind = 'purchase' group by receipt_id having count(*) = 1
)
select
  b.receipt_id,
  cast(b.line_no as int) as line_no,
  b.kind,
  b.order_id,
  cast(b.order_line_no as int) as order_line_no,
  b.work_order_id,
  b.supplier_id,
  cast(b.product as text) as item_id,
  cast(b.warehouse as text) as site_id,
  cast(b.lot as text) as lot_id,
  case when b.kind = 'purchase' then l.number end as supplier_lot,
  cast(round(b.internal_quantity, 6) as decimal(18,6)) as quantity,
  case when i.failed and o.receipt_id is not null then cast(0 as decimal(18,6)) when not i.failed then cast(round(b.internal_quantity, 6) as decimal(18,6)) end as accepted,
  arrow_cast(b.effective_date, 'Timestamp(Microsecond, Some("UTC"))') as received_at,
  cast(b.id as text) as source_id,
  cast(b.write_date as text) as source_version,
  coalesce(b.write_date, b.create_date) as changed_at
from both as b
left join stock_lot as l on l.id = b.lot
left join inspected as i on b.kind = 'purchase' and i.receipt_id = b.receipt_id
left join single as o on o.receipt_id = b.receipt_id
