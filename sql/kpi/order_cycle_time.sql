--! description = "Days from order to receipt by the customer (to shipment where receipt is not known)"
--! key = ["day", "site_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Order fulfilment cycle time"
--! unit = "days"
--! scale = 1.0
--! better = "lower"
--! target = 14.0
--! source = "SCOR RS.1.1"
--! node = "crm"
with orders as (
  select order_id, line_no, min(ordered_at) as ordered_at, min(site_id) as site_id
  from erp.sales_order_lines
  where status in ('shipped', 'closed')
  group by order_id, line_no
),
deliveries as (
  select order_id, order_line_no as line_no, max(coalesce(delivered_at, shipped_at)) as delivered_at
  from wms.shipments
  group by order_id, order_line_no
)
select
  cast(d.delivered_at as date) as day, o.site_id,
  cast(sum(extract(epoch from d.delivered_at) - extract(epoch from o.ordered_at)) / 86400 as double) as numerator,
  cast(count(*) as double) as denominator
from orders as o
join deliveries as d on d.order_id = o.order_id and d.line_no = o.line_no
group by 1, 2
