-- A notice to the account owner.
select
  n.notice_id as notice_ref,
  n.source_customer_id as account_id,
  n.case_id as case_ref,
  p.product_code,
  n.lot_number as batch_no,
  n.subject,
  n.message,
  n._reason,
  n._mode
from outbox.quality_notices as n
left join product as p on p.erp_number = ltrim(n.item_id, '0')
