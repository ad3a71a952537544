select
  cast(m.production_input as text) as work_order_id,
  cast(row_number() over (partition by m.production_input order by min(m.id)) as int) as line_no,
  cast(m.product as text) as item_id,
  cast(round(sum(m.internal_quantity), 6) as decimal(18,6)) as required,
  cast(round(sum(case when m.state = 'done' then m.internal_quantity else 0 end), 6) as decimal(18,6)) as issued,
  cast(null as int) as operation_no,
  cast(min(m.id) as text) as source_id,
  cast(max(m.write_date) as text) as source_version,
  coalesce(max(m.write_date), max(m.create_date)) as changed_at
from stock_move as m
where m.production_input is not null and m.state <> 'cancelled'
group by m.production_input, m.product
