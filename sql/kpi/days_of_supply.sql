--! description = "Stock at standard cost, in days of the goods sold over the last 12 months"
--! key = ["day", "site_id"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Days of supply"
--! unit = "days"
--! scale = 1.0
--! better = "lower"
--! target = 45.0
--! source = "SCOR AM.2.2, stock of today"
--! node = "scm"
with costs as (
  select item_id, site_id, cast(amount as double) / cast(per_quantity as double) as cost,
    row_number() over (partition by item_id, site_id order by case kind when 'standard' then 0 when 'average' then 1 else 2 end, valid_from desc) as nth
  from erp.item_costs
  where valid_from <= current_date
),
stock as (
  select s.site_id, sum(cast(s.quantity as double) * c.cost) as value
  from scm.stock as s
  join costs as c on c.item_id = s.item_id and c.site_id = s.site_id and c.nth = 1
  group by s.site_id
),
sold as (
  select
    s.site_id, sum(cast(s.quantity as double) * c.cost) as value,
    -- a firm with less history than a year is not idle before it
    greatest(1, current_date - min(cast(s.shipped_at as date))) as days
  from wms.shipments as s
  join costs as c on c.item_id = s.item_id and c.site_id = s.site_id and c.nth = 1
  where s.shipped_at >= now() - interval '365 days'
  group by s.site_id
)
select current_date as day, s.site_id, s.value as numerator, d.value / d.days as denominator
from stock as s
join sold as d on d.site_id = s.site_id
