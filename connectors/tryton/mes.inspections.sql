with outputs as (
  select production_output as production, min(lot) as lot, sum(internal_quantity) as quantity
  from stock_move where production_output is not null and state = 'done' group by production_output
),
receipts as (
  select
    cast(split_part(shipment, ',', 2) as int) as shipment, min(product) as product, min(lot) as lot, sum(internal_quantity) as quantity,
    count(*) as lines
  from stock_move
  where shipment like 'stock.shipment.in,%' and origin like 'purchase.line,%' and state = 'done'
  group by 1
)
select
  cast(i.id as text) as inspection_id,
  case when i.origin like 'production,%' then 'final' else 'receipt' end as trigger,
  case when i.origin like 'stock.shipment.in,%' then split_part(i.origin, ',', 2) end as receipt_id,
  case when i.origin like 'production,%' then split_part(i.origin, ',', 2) end as work_order_id,
  cast(coalesce(p.product, r.product) as text) as item_id,
  -- an inspection of a receipt with several lines does not say which one
  cast(coalesce(o.lot, case when r.lines = 1 then r.lot end) as text) as lot_id,
  l.number as lot_number,
  cast(round(coalesce(o.quantity, r.quantity), 6) as decimal(18,6)) as quantity,
  cast(null as decimal(18,6)) as sample,
  case when i.state = 'failed' then cast(round(coalesce(o.quantity, r.quantity), 6) as decimal(18,6)) when i.state = 'passed' then cast(0 as decimal(18,6)) end as rejected,
  cast(null as text) as defect_code,
  case i.state when 'pending' then 'pending' when 'passed' then 'accepted' when 'failed' then 'rejected' end as decision,
  coalesce(arrow_cast(coalesce(p.effective_date, s.effective_date), 'Timestamp(Microsecond, Some("UTC"))'), i.create_date) as created_at,
  case when i.state <> 'pending' then coalesce(arrow_cast(coalesce(p.effective_date, s.effective_date), 'Timestamp(Microsecond, Some("UTC"))'), i.processed_at) end as decided_at,
  cast(i.id as text) as source_id,
  cast(i.write_date as text) as source_version,
  coalesce(i.write_date, i.create_date) as changed_at
from quality_inspection as i
left join production as p on i.origin = concat('production,', cast(p.id as text))
left join outputs as o on o.production = p.id
left join stock_shipment_in as s on i.origin = concat('stock.shipment.in,', cast(s.id as text))
left join receipts as r on r.shipment = s.id
left join stock_lot as l on l.id = coalesce(o.lot, case when r.lines = 1 then r.lot end)
where coalesce(p.product, r.product) is not null
