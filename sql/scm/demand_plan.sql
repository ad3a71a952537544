--! description = "Weekly forecast of each item and site: what sales expects (longer periods spread evenly), otherwise exponentially smoothed shipments of the last 26 weeks"
--! key = ["item_id", "site_id", "bucket_start"]
--! clock = "month"
--! checks = ["quantity >= 0", "bucket_days > 0"]
-- The forecast is made once a month: a forecast that moves every day makes every plan nervous.
with this_week as (
  select cast(date_trunc('week', now()) as date) as monday
),
shipments as (
  select item_id, site_id, cast(date_trunc('week', shipped_at) as date) as week, cast(sum(quantity) as double) as quantity
  from wms.shipments
  group by 1, 2, 3
),
history as (
  select s.item_id, s.site_id, s.quantity, (t.monday - s.week) / 7 as weeks_ago
  from shipments as s cross join this_week as t
  where s.week < t.monday and cast(t.monday as int) - cast(s.week as int) <= 182
),
-- Simple exponential smoothing, alpha 0.15, written out: weeks without shipments count as zero through the divisor.
smoothed as (
  select
    item_id, site_id, max(weeks_ago) as weeks,
    sum(quantity * power(0.85, weeks_ago - 1)) * 0.15 / (1 - power(0.85, max(weeks_ago))) as quantity
  from history
  group by item_id, site_id
),
weeks as (
  select t.monday + cast(7 * n.week as int) as bucket_start
  from this_week as t
  cross join (select unnest(range(0, 18)) as week) as n
),
statistical as (
  select s.item_id, s.site_id, w.bucket_start, 7 as bucket_days, s.quantity, 'smoothed shipments' as method
  from smoothed as s cross join weeks as w
  where s.weeks >= 4 -- fewer weeks say nothing
),
latest as (
  select *, dense_rank() over (partition by item_id, site_id order by version desc) as nth from crm.demand_forecasts
),
sales_buckets as (
  select l.item_id, l.site_id, l.bucket_start, max(l.bucket_days) as bucket_days, cast(sum(l.quantity) as double) as quantity
  from latest as l cross join this_week as t
  where l.nth = 1 and cast(l.bucket_start as int) + l.bucket_days > cast(t.monday as int)
  group by l.item_id, l.site_id, l.bucket_start
),
-- a month's forecast is needed bit by bit, not on its last day
sales_weeks as (
  select
    b.item_id, b.site_id, b.bucket_start + cast(7 * n.week as int) as bucket_start, least(7, b.bucket_days - 7 * n.week) as bucket_days,
    b.quantity * least(7, b.bucket_days - 7 * n.week) / b.bucket_days as quantity
  from sales_buckets as b
  cross join (select unnest(range(0, 14)) as week) as n
  where 7 * n.week < b.bucket_days
),
sales as (
  select item_id, site_id, bucket_start, max(bucket_days) as bucket_days, sum(quantity) as quantity, 'sales forecast' as method
  from sales_weeks
  group by item_id, site_id, bucket_start
),
combined as (
  select * from sales
  union all
  select s.* from statistical as s
  left join (select distinct item_id, site_id from sales) as f on f.item_id = s.item_id and f.site_id = s.site_id
  where f.item_id is null
)
select
  item_id, site_id, bucket_start, cast(bucket_days as int) as bucket_days,
  cast(round(quantity, 0) as decimal(18,6)) as quantity, method
from combined
