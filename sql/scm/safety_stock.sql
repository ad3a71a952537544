--! description = "Stock against uncertain demand: service factor x sigma of weekly demand x root of the lead time"
--! key = ["item_id", "site_id"]
--! clock = "month"
--! checks = ["safety_stock >= 0"]
-- Only items with demand of their own (shipments); demand of components is planned, not guessed.
with this_week as (
  select cast(date_trunc('week', now()) as date) as monday
),
weekly as (
  select item_id, site_id, cast(date_trunc('week', shipped_at) as date) as week, cast(sum(quantity) as double) as quantity
  from wms.shipments
  group by 1, 2, 3
),
history as (
  select w.item_id, w.site_id, w.quantity, (t.monday - w.week) / 7 as weeks_ago
  from weekly as w cross join this_week as t
  where w.week < t.monday and cast(t.monday as int) - cast(w.week as int) <= 182
),
moments as (
  select item_id, site_id, cast(max(weeks_ago) as double) as n, sum(quantity) as total, sum(quantity * quantity) as total_squares
  from history
  group by item_id, site_id
),
spread as (
  select item_id, site_id, n, total / n as mean_weekly, sqrt(greatest(0, (total_squares - total * total / n) / (n - 1))) as sigma_weekly
  from moments
  where n >= 8
)
select
  s.item_id, s.site_id, s.mean_weekly, s.sigma_weekly, 0.95 as service_level, p.lead_time_days,
  -- 1.645: the normal quantile of 95 %
  cast(ceil(1.645 * s.sigma_weekly * sqrt(p.lead_time_days / 7.0)) as decimal(18,6)) as safety_stock
from spread as s
join erp.item_sites as p on p.item_id = s.item_id and p.site_id = s.site_id
