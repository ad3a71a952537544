--! description = "Order lines whose promise was moved, of all lines promised"
--! key = ["day", "site_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Promises moved"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 5.0
--! source = "domain practice: lines re-promised / lines promised"
--! node = "erp"
select
  cast(ordered_at as date) as day, site_id,
  cast(sum(case when promised <> first_promised then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from erp.sales_order_lines
where first_promised is not null and promised is not null and status in ('confirmed', 'shipped', 'closed')
group by 1, 2
