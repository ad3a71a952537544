select
  cast(i.id as text) as count_id,
  cast(row_number() over (partition by i.id order by l.id) as int) as line_no,
  cast(l.product as text) as item_id,
  cast(w.id as text) as site_id,
  cast(i.location as text) as location_id,
  cast(l.lot as text) as lot_id,
  cast(round(l.expected_quantity, 6) as decimal(18,6)) as expected,
  cast(round(coalesce(l.quantity, 0), 6) as decimal(18,6)) as counted,
  cast(null as double) as tolerance,
  arrow_cast(i.date, 'Timestamp(Microsecond, Some("UTC"))') as at,
  cast(l.id as text) as source_id,
  cast(l.write_date as text) as source_version,
  coalesce(l.write_date, l.create_date) as changed_at
from stock_inventory as i
join stock_inventory_line as l on l.inventory = i.id
join stock_location as w on w.type = 'warehouse' and i.location in (w.input_location, w.output_location, w.storage_location)
-- an opening balance is no count
where i.state = 'done' and l.expected_quantity is not null and l.expected_quantity <> 0
