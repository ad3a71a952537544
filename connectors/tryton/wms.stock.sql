-- Tryton keeps no stock: it is the sum of all done moves.
with both as (
  select to_location as location, product, lot, internal_quantity as quantity, effective_date from stock_move where state = 'done'
  union all
  select from_location, product, lot, -internal_quantity, effective_date from stock_move where state = 'done'
),
sums as (
  select location, product, lot, sum(quantity) as quantity, max(effective_date) as day from both group by location, product, lot
)
select
  concat(cast(s.location as text), '/', cast(s.product as text), '/', coalesce(cast(s.lot as text), '')) as stock_id,
  cast(s.product as text) as item_id,
  cast(s.location as text) as location_id,
  cast(w.id as text) as site_id,
  cast(s.lot as text) as lot_id,
  'available' as status,
  cast(null as text) as owner,
  cast(round(s.quantity, 6) as decimal(18,6)) as quantity,
  cast(0 as decimal(18,6)) as reserved,
  arrow_cast(s.day, 'Timestamp(Microsecond, Some("UTC"))') as as_of
from sums as s
join stock_location as l on l.id = s.location and l.type = 'storage'
join stock_location as w
  on w.type = 'warehouse' and (l.parent = w.id or l.id in (w.input_location, w.output_location, w.storage_location))
where abs(s.quantity) > 0.0000005
