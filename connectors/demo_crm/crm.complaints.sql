-- Complaints have one line; the lot is known where the customer could read it.
select
  complaint_id,
  cast(1 as int) as line_no,
  account_id as customer_id,
  erp_order as order_id,
  delivery_note as shipment_id,
  product_code as item_id,
  batch_no as lot_id,
  batch_no as lot_number,
  cast(pieces as decimal(18,6)) as quantity,
  defect as defect_code,
  case severity
    when 1 then 'minor'
    when 2 then 'major'
    when 3 then 'critical'
  end as severity,
  received_at,
  case state
    when 'open' then 'open'
    when 'in_progress' then 'investigating'
    when 'accepted' then 'justified'
    when 'refused' then 'rejected'
    when 'closed' then 'closed'
  end as status,
  complaint_id as source_id,
  updated_at as changed_at
from complaint
