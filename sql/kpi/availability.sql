--! description = "Time in which work centres produced, of the time in which they were meant to"
--! key = ["day", "work_center_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Availability"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 85.0
--! source = "ISO 22400-2: APT / PBT"
--! node = "mes"
select
  day, work_center_id, sum(producing_s) as numerator, sum(producing_s + setup_s + down_s + idle_s) as denominator
from aps.machine_time
group by day, work_center_id
