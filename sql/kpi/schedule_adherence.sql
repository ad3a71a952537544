--! description = "Operations begun within a shift (eight hours) of their planned start, of all begun that were planned"
--! key = ["day", "work_center_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Schedule adherence"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 85.0
--! source = "domain practice: started as planned / planned"
--! node = "aps"
select
  cast(actual_start as date) as day, work_center_id,
  cast(sum(case when abs(extract(epoch from actual_start) - extract(epoch from planned_start)) <= 8 * 3600 then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from mes.operations
where actual_start is not null and planned_start is not null
group by 1, 2
