-- What customers changed after ordering.
select
  change_id,
  request_id,
  cast(position as int) as line_no,
  erp_order as order_id,
  case field
    when 'packs' then 'quantity'
    when 'wanted_on' then 'requested_date'
    when 'withdrawn' then 'cancelled'
    else 'other'
  end as field,
  old_value,
  new_value,
  changed_at as at,
  change_id as source_id,
  updated_at as changed_at
from order_change
