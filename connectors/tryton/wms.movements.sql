select
  cast(m.id as text) as movement_id,
  case
    when f.type = 'supplier' then 'receipt'
    when t.type = 'customer' then 'shipment'
    when f.type = 'production' then 'production'
    when t.type = 'production' then 'issue'
    when f.type = 'lost_found' or t.type = 'lost_found' then 'adjustment'
    when m.shipment like 'stock.shipment.in,%' then 'putaway'
    else 'transfer'
  end as kind,
  cast(m.product as text) as item_id,
  cast(m.lot as text) as lot_id,
  cast(round(m.internal_quantity, 6) as decimal(18,6)) as quantity,
  case when f.type in ('storage', 'production') then cast(m.from_location as text) end as from_location_id,
  case when t.type in ('storage', 'production') then cast(m.to_location as text) end as to_location_id,
  arrow_cast(m.effective_date, 'Timestamp(Microsecond, Some("UTC"))') as occurred_at,
  coalesce(m.shipment, m.origin) as document,
  cast(null as text) as reverses,
  cast(m.id as text) as source_id,
  cast(m.write_date as text) as source_version,
  coalesce(m.write_date, m.create_date) as changed_at
from stock_move as m
join stock_location as f on f.id = m.from_location
join stock_location as t on t.id = m.to_location
where m.state = 'done'
