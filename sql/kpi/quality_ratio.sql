--! description = "Good quantity of all that was produced"
--! key = ["day", "work_center_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Quality ratio"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 98.0
--! source = "ISO 22400-2: GQ / PQ"
--! node = "mes"
select
  cast(started_at as date) as day, work_center_id,
  cast(sum(good) as double) as numerator,
  cast(sum(good + scrap + rework) as double) as denominator
from mes.confirmations
group by 1, 2
