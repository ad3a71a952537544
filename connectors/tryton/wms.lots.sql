with received as (
  select
    m.lot, min(m.effective_date) as day,
    min(case when m.origin like 'purchase.line,%' then s.supplier end) as supplier
  from stock_move as m
  left join stock_shipment_in as s on m.shipment = concat('stock.shipment.in,', cast(s.id as text))
  where m.lot is not null and m.state = 'done'
  group by m.lot
)
select
  cast(l.id as text) as lot_id,
  cast(l.product as text) as item_id,
  l.number as lot_number,
  cast(r.supplier as text) as supplier_id,
  case when r.supplier is not null then l.number end as supplier_lot,
  arrow_cast(r.day, 'Timestamp(Microsecond, Some("UTC"))') as made_at,
  arrow_cast(l.expiration_date, 'Timestamp(Microsecond, Some("UTC"))') as expires_at,
  -- Tryton has no status of a lot
  'released' as quality_status,
  cast(l.id as text) as source_id,
  cast(l.write_date as text) as source_version,
  coalesce(l.write_date, l.create_date) as changed_at
from stock_lot as l
left join received as r on r.lot = l.id
