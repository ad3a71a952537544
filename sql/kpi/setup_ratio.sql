--! description = "Set-up time of the time in which work centres were set up or produced"
--! key = ["day", "work_center_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Set-up ratio"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 10.0
--! source = "ISO 22400-2: AUST / AUPT"
--! node = "aps"
select
  day, work_center_id, sum(setup_s) as numerator, sum(setup_s + producing_s) as denominator
from aps.machine_time
group by day, work_center_id
