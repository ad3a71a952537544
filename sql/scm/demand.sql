--! description = "All that is needed: open order lines, forecast not yet consumed by orders, and material of work orders"
--! key = ["demand_id"]
--! clock = "day"
--! checks = ["quantity > 0"]
with order_lines as (
  -- The first promise never changes, so the plan does not follow a promise that it has itself made worse.
  select 'so:' || line_id as demand_id, item_id, site_id, coalesce(first_promised, promised, requested_date) as due, quantity
  from scm.order_lines
),
buckets as (
  select f.*, cast(f.bucket_start + f.bucket_days as date) as bucket_end
  from scm.demand_plan as f
  join scm.items as i on i.item_id = f.item_id and i.site_id = f.site_id
  -- inside the demand fence only orders count
  where cast(f.bucket_start as int) + f.bucket_days > cast(current_date as int) + i.zone_days and f.bucket_start < current_date + 92
),
-- orders and shipments that the forecast of a bucket already expected
consumption as (
  select item_id, site_id, requested_date as day, cast(quantity as decimal(18,6)) as quantity
  from erp.sales_order_lines
  where status in ('confirmed', 'shipped', 'closed')
),
consumed as (
  select b.item_id, b.site_id, b.bucket_start, sum(c.quantity) as quantity
  from buckets as b
  join consumption as c on c.item_id = b.item_id and c.site_id = b.site_id and c.day >= b.bucket_start and c.day < b.bucket_end
  group by b.item_id, b.site_id, b.bucket_start
),
forecasts as (
  select
    'fc:' || b.item_id || '/' || b.site_id || '/' || cast(b.bucket_start as text) as demand_id,
    b.item_id, b.site_id, cast(b.bucket_end - 1 as date) as due, b.quantity - coalesce(c.quantity, 0) as quantity
  from buckets as b
  left join consumed as c on c.item_id = b.item_id and c.site_id = b.site_id and c.bucket_start = b.bucket_start
),
materials as (
  select
    'wo:' || m.work_order_id || '/' || m.item_id as demand_id, m.item_id, m.site_id,
    coalesce(m.start_date, m.due_date) as due, m.quantity
  from scm.work_order_materials as m
),
combined as (
  select * from order_lines
  union all
  select * from forecasts
  union all
  select * from materials
)
select d.demand_id, d.item_id, d.site_id, d.due, cast(d.quantity as decimal(18,6)) as quantity
from combined as d
join scm.items as i on i.item_id = d.item_id and i.site_id = d.site_id -- others are not planned here: see xref.information_gaps
where d.quantity > 0
