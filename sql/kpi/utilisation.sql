--! description = "Scheduled of available hours over the next seven days"
--! key = ["day", "work_center_id"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Scheduled load, next 7 days"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! source = "domain practice: scheduled / available hours"
--! node = "aps"
select
  day, resource_id as work_center_id, cast(sum(scheduled_hours) as double) as numerator, cast(sum(available_hours) as double) as denominator
from aps.load
where day >= current_date and day < current_date + 7
group by day, resource_id
