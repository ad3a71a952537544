--! description = "Absolute error of the forecast of what was ordered: the sales forecast where past ones are kept, otherwise the mean of 12 weeks against the next four"
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
),
-- without past forecasts: what the plain mean would have said, four weeks at a time
weeks as (
  select cast(date_trunc('week', now()) as date) - cast(7 * n.weeks_ago as int) as week, n.weeks_ago
  from (select unnest(range(1, 53)) as weeks_ago) as n
),
unforecast as (
  select o.item_id, min(o.requested_date) as since
  from orders as o
  left join (select distinct item_id from forecasts where cast(bucket_start as int) + bucket_days <= cast(current_date as int)) as f on f.item_id = o.item_id
  where f.item_id is null
  group by o.item_id
),
weekly as (
  select item_id, cast(date_trunc('week', requested_date) as date) as week, sum(quantity) as quantity from orders group by 1, 2
),
grid as (
  select u.item_id, u.since, w.week, w.weeks_ago, coalesce(o.quantity, 0) as quantity
  from unforecast as u
  cross join weeks as w
  left join weekly as o on o.item_id = u.item_id and o.week = w.week
),
windows as (
  select
    item_id, since, week, weeks_ago,
    sum(quantity) over (partition by item_id order by week rows between 12 preceding and 1 preceding) / 3 as forecast,
    sum(quantity) over (partition by item_id order by week rows between current row and 3 following) as actual
  from grid
),
combined as (
  select bucket_start as day, item_id, forecast, actual from compared
  union all
  select week, item_id, forecast, actual
  from windows
  where weeks_ago % 4 = 0 and weeks_ago <= 40 and cast(week as int) - cast(since as int) >= 84
)
select day, item_id, sum(abs(actual - forecast)) as numerator, sum(actual) as denominator
from combined
group by day, item_id
