--! description = "Stock value above 90 days of planned demand, of all stock value"
--! key = ["day", "item_id", "site_id"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Excess stock"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 15.0
--! source = "domain practice: value above N days of demand / stock value"
--! node = "scm"
with costs as (
  select item_id, site_id, cast(amount as double) / cast(per_quantity as double) as cost,
    row_number() over (partition by item_id, site_id order by case kind when 'standard' then 0 when 'average' then 1 else 2 end, valid_from desc) as nth
  from erp.item_costs
  where valid_from <= current_date
),
demand as (
  select item_id, site_id, cast(sum(gross) as double) as quantity from scm.net_requirements where day < current_date + 90 group by item_id, site_id
),
stock as (
  select item_id, site_id, cast(sum(quantity) as double) as quantity from scm.stock group by item_id, site_id having sum(quantity) > 0
)
select
  current_date as day, s.item_id, s.site_id,
  greatest(0, s.quantity - coalesce(d.quantity, 0)) * c.cost as numerator,
  s.quantity * c.cost as denominator
from stock as s
join costs as c on c.item_id = s.item_id and c.site_id = s.site_id and c.nth = 1
left join demand as d on d.item_id = s.item_id and d.site_id = s.site_id
