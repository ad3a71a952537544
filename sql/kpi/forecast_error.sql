--! description = "Absolute error of the sales forecast, of what was ordered for the same weeks or months"
--! key = ["day", "item_id"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Forecast error (WAPE)"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 30.0
--! source = "WAPE: sum |A - F| / sum A"
--! node = "scm"
with latest as (
  select *, dense_rank() over (partition by item_id, site_id, bucket_start order by version desc) as nth from crm.demand_forecasts
),
forecasts as (
  select item_id, site_id, bucket_start, max(bucket_days) as bucket_days, cast(sum(quantity) as double) as quantity
  from latest
  where nth = 1
  group by item_id, site_id, bucket_start
),
orders as (
  select item_id, site_id, requested_date, cast(sum(quantity) as double) as quantity
  from erp.sales_order_lines
  where status in ('confirmed', 'shipped', 'closed')
  group by item_id, site_id, requested_date
),
compared as (
  select f.item_id, f.site_id, f.bucket_start, f.quantity as forecast, coalesce(sum(o.quantity), 0) as actual
  from forecasts as f
  left join orders as o
    on o.item_id = f.item_id and o.site_id = f.site_id and o.requested_date >= f.bucket_start and cast(o.requested_date as int) < cast(f.bucket_start as int) + f.bucket_days
  where cast(f.bucket_start as int) + f.bucket_days <= cast(current_date as int)
  group by f.item_id, f.site_id, f.bucket_start, f.quantity
)
select bucket_start as day, item_id, sum(abs(actual - forecast)) as numerator, sum(actual) as denominator
from compared
group by bucket_start, item_id
