--! description = "Order lines delivered in full by the first promise, of all lines due by then; overdue open lines fail"
--! key = ["day", "site_id", "customer_id"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "OTIF (first promise)"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 95.0
--! source = "SCOR RL.1.1, line level"
--! node = "crm"
with lines as (
  select
    order_id, line_no, min(site_id) as site_id, min(customer_id) as customer_id, sum(quantity) as quantity,
    max(coalesce(first_promised, requested_date)) as due
  from erp.sales_order_lines
  where status in ('confirmed', 'shipped', 'closed')
  group by order_id, line_no
),
delivered as (
  select l.order_id, l.line_no, sum(s.quantity) as quantity
  from lines as l
  join wms.shipments as s on s.order_id = l.order_id and s.order_line_no = l.line_no and cast(s.shipped_at as date) <= l.due
  group by l.order_id, l.line_no
)
select
  l.due as day, l.site_id, l.customer_id,
  cast(sum(case when coalesce(d.quantity, 0) >= l.quantity * 0.999 then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from lines as l
left join delivered as d on d.order_id = l.order_id and d.line_no = l.line_no
where l.due < current_date and l.due >= current_date - 365
group by l.due, l.site_id, l.customer_id
