--! description = "Documents that never reached the next system, and records that cannot be right, with their age"
--! key = ["gap", "document"]
--! clock = "day"
--! checks = ["age_days >= 0"]
with erp_requests as (
  select distinct request_id from erp.sales_order_lines where request_id is not null
),
erp_orders as (
  select distinct order_id from erp.sales_order_lines
),
lost_requests as (
  select
    'won in the CRM, no order in the ERP' as gap, r.system || ':' || r.request_id || '/' || cast(r.line_no as text) as document, r.system, 'erp' as missing_in,
    r.item_id, r.quantity, coalesce(r.won_at, r.created_at) as since
  from crm.order_requests as r
  left join erp_requests as e on e.request_id = r.request_id
  left join erp_orders as o on o.order_id = r.erp_order_id
  where r.status = 'won' and e.request_id is null and o.order_id is null
),
lost_work_orders as (
  select
    'released in the ERP, unknown to the MES', w.system || ':' || w.source_work_order_id, w.system, 'mes',
    w.item_id, w.quantity, coalesce(w.released_at, cast(w.start_date as timestamp(6) with time zone), cast(w.due_date as timestamp(6) with time zone))
  from erp.work_orders as w
  left join (select distinct work_order_id from mes.work_orders) as m on m.work_order_id = w.work_order_id
  where w.status = 'released' and m.work_order_id is null
),
received as (
  select work_order_id, sum(quantity) as quantity from wms.receipts where kind = 'production' group by work_order_id
),
lost_output as (
  select
    'finished in the MES, not received in the warehouse', m.system || ':' || m.source_work_order_id, m.system, 'wms',
    m.item_id, m.good - coalesce(r.quantity, 0), m.completed_at
  from mes.work_orders as m
  left join received as r on r.work_order_id = m.work_order_id
  where m.status = 'completed' and m.completed_at is not null and m.good > coalesce(r.quantity, 0) * 1.001
),
zombie_purchases as (
  select
    'order to a supplier more than 60 days overdue, still counted as supply', p.system || ':' || p.source_order_id || '/' || cast(p.line_no as text) || '/' || cast(p.schedule_no as text),
    p.system, 'erp', p.item_id, p.quantity - p.received, cast(coalesce(p.confirmed, p.requested_date) as timestamp(6) with time zone)
  from erp.purchase_order_lines as p
  where p.status in ('ordered', 'confirmed') and p.quantity > p.received and coalesce(p.confirmed, p.requested_date) < current_date - 60
),
zombie_work_orders as (
  select
    'work order more than 60 days overdue, still counted as supply', 'wo:' || w.work_order_id, 'erp', 'mes',
    w.item_id, w.remaining, cast(w.due_date as timestamp(6) with time zone)
  from scm.work_orders as w
  where w.due_date < current_date - 60 and w.remaining > 0
),
negative_stock as (
  select 'negative stock', s.system || ':' || s.stock_id, s.system, 'wms', s.item_id, s.quantity, coalesce(s.as_of, now())
  from wms.stock as s
  where s.quantity < 0
),
unplanned as (
  select
    'ordered by customers, no planning parameters', o.item_id || '/' || o.site_id, min(o.system), 'erp', o.item_id, sum(o.quantity), min(o.ordered_at)
  from scm.order_lines as o
  left join scm.promise_items as i on i.item_id = o.item_id and i.site_id = o.site_id
  where i.item_id is null
  group by o.item_id, o.site_id
),
combined as (
  select * from lost_requests
  union all
  select * from lost_work_orders
  union all
  select * from lost_output
  union all
  select * from zombie_purchases
  union all
  select * from zombie_work_orders
  union all
  select * from negative_stock
  union all
  select * from unplanned
)
-- a document younger than a day is on its way, not lost
select
  gap, document, system, missing_in, item_id, cast(quantity as decimal(18,6)) as quantity,
  cast(since as timestamp(6) with time zone) as since, current_date - cast(since as date) as age_days
from combined
where since < now() - interval '1 day' or gap = 'negative stock'
