--! description = "How each line of an order to a supplier came in: on the first confirmed date, in full, after how long"
--! key = ["order_id", "line_no"]
--! clock = "day"
--! checks = ["quantity > 0", { expression = "lead_time_days >= 0 or lead_time_days is null", severity = "warn" }]
with lines as (
  select
    order_id, line_no, min(supplier_id) as supplier_id, min(item_id) as item_id, min(site_id) as site_id, sum(quantity) as quantity,
    min(ordered_at) as ordered_at, max(requested_date) as requested_date,
    max(coalesce(first_confirmed, requested_date)) as due, min(price) as price, min(currency) as currency,
    bool_and(status in ('received', 'closed')) as done
  from erp.purchase_order_lines
  where status not in ('draft', 'cancelled') and ordered_at >= now() - interval '550 days'
  group by order_id, line_no
),
received as (
  select
    l.order_id, l.line_no, sum(r.quantity) as quantity,
    sum(case when cast(r.received_at as date) <= l.due then r.quantity else 0 end) as on_time,
    sum(coalesce(r.quantity - r.accepted, 0)) as rejected, max(r.received_at) as last_at
  from lines as l
  join wms.receipts as r on r.order_id = l.order_id and r.order_line_no = l.line_no and r.kind = 'purchase'
  group by l.order_id, l.line_no
),
agreed as (
  select supplier_id, item_id, site_id, min(lead_time_days) as lead_time_days
  from erp.supplier_items
  where valid_from <= current_date and (valid_to is null or valid_to >= current_date)
  group by supplier_id, item_id, site_id
)
select
  l.order_id, l.line_no, l.supplier_id, l.item_id, l.site_id, l.quantity, l.price, l.currency,
  l.ordered_at, l.requested_date, l.due, cast(r.last_at as date) as received_on,
  cast(coalesce(r.quantity, 0) as decimal(18,6)) as received,
  cast(coalesce(r.on_time, 0) as decimal(18,6)) as received_on_time,
  cast(coalesce(r.rejected, 0) as decimal(18,6)) as rejected,
  l.due < current_date as is_due,
  coalesce(r.quantity, 0) >= l.quantity * 0.999 as in_full,
  coalesce(r.on_time, 0) >= l.quantity * 0.999 as on_time_in_full,
  case when l.done or coalesce(r.quantity, 0) >= l.quantity * 0.999 then cast(r.last_at as date) - cast(l.ordered_at as date) end as lead_time_days,
  cast(coalesce(a.lead_time_days, l.requested_date - cast(l.ordered_at as date)) as bigint) as planned_lead_time_days
from lines as l
left join received as r on r.order_id = l.order_id and r.line_no = l.line_no
left join agreed as a on a.supplier_id = l.supplier_id and a.item_id = l.item_id and a.site_id = l.site_id
