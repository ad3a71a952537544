--! description = "Scrapped quantity of all that was produced"
--! key = ["day", "work_center_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Scrap"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 2.0
--! source = "ISO 22400-2: SQ / PQ"
--! node = "mes"
select
  cast(started_at as date) as day, work_center_id,
  cast(sum(scrap) as double) as numerator,
  cast(sum(good + scrap + rework) as double) as denominator
from mes.confirmations
group by 1, 2
