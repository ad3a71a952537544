--! description = "All that is there or will come: nettable stock, open purchase lines and requests, open work orders"
--! key = ["supply_id"]
--! clock = "day"
--! checks = ["quantity > 0"]
with stock as (
  select 'stock:' || item_id || '/' || site_id as supply_id, item_id, site_id, current_date as due, sum(nettable) as quantity, 'stock' as kind
  from scm.stock
  group by item_id, site_id
),
receipts as (
  select order_id, order_line_no as line_no, sum(quantity) as quantity
  from wms.receipts
  where kind = 'purchase'
  group by order_id, order_line_no
),
purchase_lines as (
  select *, count(*) over (partition by order_id, line_no) as schedules
  from erp.purchase_order_lines
  where status in ('ordered', 'confirmed')
),
purchases as (
  select
    'po:' || p.order_id || '/' || cast(p.line_no as text) || '/' || cast(p.schedule_no as text) as supply_id,
    p.item_id, p.site_id, coalesce(p.confirmed, p.requested_date) as due,
    -- the warehouse has goods in stock before the ERP has booked them
    p.quantity - case when p.schedules = 1 then greatest(p.received, coalesce(r.quantity, 0)) else p.received end as quantity,
    'purchase order' as kind
  from purchase_lines as p
  left join receipts as r on r.order_id = p.order_id and r.line_no = p.line_no
),
-- requests that people made or approved; the hub's own open proposals are in scm.open_proposals
requests as (
  select
    'pr:' || request_id || '/' || cast(line_no as text) as supply_id, item_id, site_id, needed_date as due, quantity, 'purchase request' as kind
  from erp.purchase_requests
  where status = 'approved' or (status = 'proposed' and external_ref is null)
),
work_orders as (
  select 'wo:' || work_order_id as supply_id, item_id, site_id, due_date as due, remaining as quantity, 'work order' as kind
  from scm.work_orders
),
-- proposals that a planner fixed, or that the ERP itself made
planned as (
  select 'pl:' || planned_id as supply_id, item_id, site_id, due_date as due, quantity, 'planned order' as kind
  from erp.planned_orders
  where firm or external_ref is null
),
combined as (
  select * from stock
  union all
  select * from purchases
  union all
  select * from requests
  union all
  select * from work_orders
  union all
  select * from planned
)
select supply_id, item_id, site_id, cast(due as date) as due, cast(quantity as decimal(18,6)) as quantity, kind
from combined
where quantity > 0
