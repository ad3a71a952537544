--! description = "What customers need or will need at each site: open order lines, and forecast not yet consumed by orders"
--! key = ["demand_id"]
--! clock = "day"
--! checks = ["quantity > 0"]
with order_lines as (
  -- The first promise never changes, so the plan does not follow a promise that it has itself made worse.
  select 'so:' || line_id as demand_id, item_id, site_id, coalesce(first_promised, promised, requested_date) as due, quantity
  from scm.order_lines
),
fences as (
  select item_id, site_id, max(coalesce(demand_fence_days, 0)) as fence_days from erp.item_sites where planning_method in ('mrp', 'reorder-point') group by item_id, site_id
),
buckets as (
  select f.*, cast(f.bucket_start + f.bucket_days as date) as bucket_end
  from scm.demand_plan as f
  join fences as i on i.item_id = f.item_id and i.site_id = f.site_id
  -- inside the demand fence only orders count
  where cast(f.bucket_start as int) + f.bucket_days > cast(current_date as int) + i.fence_days and f.bucket_start < current_date + 92
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
combined as (
  select * from order_lines
  union all
  select * from forecasts
)
select demand_id, item_id, site_id, due, cast(quantity as decimal(18,6)) as quantity
from combined
where quantity > 0
