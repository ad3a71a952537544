-- Inspections of receipts (1), steps (2), finished orders (3) and complaints (4).
select
  cast(id as text) as inspection_id,
  case kind when 1 then 'receipt' when 2 then 'operation' when 3 then 'final' when 4 then 'complaint' end as trigger,
  receipt_no as receipt_id,
  cast(job_id as text) as work_order_id,
  cast(product_id as text) as item_id,
  lot as lot_id,
  lot as lot_number,
  cast(lot_qty as decimal(18,6)) as quantity,
  cast(sample as decimal(18,6)) as sample,
  cast(bad as decimal(18,6)) as rejected,
  defect as defect_code,
  case verdict when 0 then 'pending' when 1 then 'accepted' when 2 then 'conditional' when 3 then 'rejected' end as decision,
  cast(to_timestamp_millis(opened_ms) as timestamp(6) with time zone) as created_at,
  cast(to_timestamp_millis(closed_ms) as timestamp(6) with time zone) as decided_at,
  cast(id as text) as source_id,
  cast(to_timestamp_millis(modified_ms) as timestamp(6) with time zone) as changed_at
from inspection
