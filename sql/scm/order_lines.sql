--! description = "Open lines of customers' orders: what is still to be delivered"
--! key = ["line_id"]
--! checks = ["quantity > 0"]
with lines as (
  select
    *, count(*) over (partition by order_id, line_no) as schedules
  from erp.sales_order_lines
  where status = 'confirmed'
),
shipped as (
  select order_id, order_line_no as line_no, sum(quantity) as quantity from wms.shipments group by order_id, order_line_no
),
erp_priorities as (
  select customer_id, min(priority) as priority from erp.customers group by customer_id
),
crm_priorities as (
  select customer_id, min(priority) as priority from crm.customers group by customer_id
),
opened as (
  select
    l.*,
    -- the warehouse knows of a shipment before the ERP has booked it; it does not know schedule lines
    l.quantity - case when l.schedules = 1 then greatest(l.shipped, coalesce(s.quantity, 0)) else l.shipped end as open_quantity
  from lines as l
  left join shipped as s on s.order_id = l.order_id and s.line_no = l.line_no
)
select
  o.order_id || '/' || cast(o.line_no as text) || '/' || cast(o.schedule_no as text) as line_id,
  o.system, o.order_id, o.source_order_id, o.line_no, o.schedule_no, o.customer_id, o.item_id, o.site_id,
  cast(o.open_quantity as decimal(18,6)) as quantity,
  cast(o.open_quantity * coalesce(o.price, 0) as double) as value, o.currency,
  o.ordered_at, o.requested_date, o.first_promised, o.promised,
  cast(coalesce(o.priority, e.priority, c.priority, 9) as bigint) as priority
from opened as o
left join erp_priorities as e on e.customer_id = o.customer_id
left join crm_priorities as c on c.customer_id = o.customer_id
where o.open_quantity > 0
