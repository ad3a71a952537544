-- Lots that went into a job (I) or came out of it (O).
select
  cast(id as text) as event_id,
  cast(1 as int) as line_no,
  cast(job_id as text) as work_order_id,
  cast(null as text) as batch,
  case dir when 'I' then 'input' when 'O' then 'output' end as direction,
  cast(product_id as text) as item_id,
  lot as lot_id,
  lot as lot_number,
  cast(qty as decimal(18,6)) as quantity,
  cast(to_timestamp_millis(at_ms) as timestamp(6) with time zone) as at,
  'recorded' as origin,
  cast(id as text) as source_id,
  cast(to_timestamp_millis(modified_ms) as timestamp(6) with time zone) as changed_at
from lot_link
