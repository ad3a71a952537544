-- Quality cases.
select
  cast(id as text) as case_id,
  case kind when 1 then 'nonconformance' when 2 then 'supplier' when 3 then 'complaint' when 4 then 'audit' end as kind,
  cast(product_id as text) as item_id,
  lot as lot_id,
  lot as lot_number,
  defect as defect_code,
  owner,
  outcome as disposition,
  case state when 1 then 'open' when 2 then 'contained' when 9 then 'closed' when 8 then 'cancelled' end as status,
  cast(to_timestamp_millis(opened_ms) as timestamp(6) with time zone) as opened_at,
  cast(null as date) as due_date,
  cast(to_timestamp_millis(closed_ms) as timestamp(6) with time zone) as closed_at,
  cast(id as text) as source_id,
  cast(to_timestamp_millis(modified_ms) as timestamp(6) with time zone) as changed_at
from qcase
