--! description = "Delivery, quality, lead time and price of each supplier over the last 12 months"
--! key = ["supplier_id"]
--! clock = "day"
--! checks = ["on_time_in_full_ratio between 0 and 1 or on_time_in_full_ratio is null", "score between 0 and 100"]
with lines as (
  select * from srm.purchase_lines where due >= current_date - 365 and due < current_date
),
-- what all suppliers together asked for an item is the reference for its price
market as (
  select item_id, sum(price * quantity) / sum(quantity) as price from lines group by item_id
),
delivery as (
  select
    supplier_id, count(*) as lines_due,
    avg(case when on_time_in_full then 1.0 else 0.0 end) as on_time_in_full_ratio,
    avg(case when in_full then 1.0 else 0.0 end) as in_full_ratio,
    cast(sum(rejected) as double) / nullif(cast(sum(received) as double), 0) * 1000000 as rejected_ppm,
    avg(cast(lead_time_days - planned_lead_time_days as double)) as lead_time_error_days,
    approx_percentile_cont(cast(lead_time_days - planned_lead_time_days as double), 0.9) as lead_time_error_p90_days,
    avg(cast(lead_time_days as double)) as lead_time_days,
    cast(sum(quantity * price) as double) as spend, min(currency) as currency
  from lines
  group by supplier_id
),
prices as (
  select l.supplier_id, cast(sum(l.price * l.quantity) as double) / nullif(cast(sum(r.price * l.quantity) as double), 0) as price_index
  from lines as l
  join market as r on r.item_id = l.item_id
  group by l.supplier_id
),
suppliers as (
  select supplier_id, min(name) as name, min(approval_status) as approval_status from erp.suppliers group by supplier_id
),
joined as (
  select
    s.supplier_id, s.name, s.approval_status, coalesce(d.lines_due, 0) as lines_due, d.on_time_in_full_ratio, d.in_full_ratio, d.rejected_ppm,
    d.lead_time_days, d.lead_time_error_days, d.lead_time_error_p90_days, p.price_index, coalesce(d.spend, 0) as spend, d.currency
  from suppliers as s
  left join delivery as d on d.supplier_id = s.supplier_id
  left join prices as p on p.supplier_id = s.supplier_id
)
select
  *,
  -- half delivery, 30 % quality (0 at 10 000 ppm), 20 % price (0 at 20 % above the others); unknown counts as middling
  round(
    50 * coalesce(on_time_in_full_ratio, 0.5) + 30 * greatest(0, least(1, 1 - coalesce(rejected_ppm, 5000) / 10000))
      + 20 * greatest(0, least(1, 1 - (coalesce(price_index, 1.1) - 1) * 5)), 1
  ) as score
from joined
