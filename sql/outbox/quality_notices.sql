--! description = "Notices to the account owners of customers who received suspect goods"
--! key = ["system", "notice_id"]
with scope as (
  select
    case_id, customer_id, min(item_id) as item_id, min(lot_id) as lot_number, min(reason) as reason, min(seed) as seed,
    count(distinct shipment_id) as shipments, sum(quantity) as quantity
  from qms.recall_scope
  where customer_id is not null and level = 'confirmed'
  group by case_id, customer_id
)
select
  c.system, s.case_id || ':' || s.customer_id as notice_id, s.case_id, s.customer_id, c.source_customer_id, s.item_id, s.lot_number,
  'Quality: ' || s.item_id || ' delivered to ' || c.name as subject,
  cast(s.shipments as text) || ' deliveries contain suspect lot ' || s.seed || ': ' || s.reason as message,
  'delivered from suspect lot ' || s.seed as _reason,
  'approve' as _mode
from scope as s
join crm.customers as c on c.customer_id = s.customer_id
