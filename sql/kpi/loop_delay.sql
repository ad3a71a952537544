--! description = "Hours from the approval of a change until it was seen in the target system"
--! key = ["day", "system", "kind"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Time to close the loop"
--! unit = "hours"
--! scale = 1.0
--! better = "lower"
--! target = 4.0
--! source = "domain practice: mean of confirmed - approved"
--! node = "loop"
select
  cast(closed_at as date) as day, system, kind,
  cast(sum(greatest(0, extract(epoch from closed_at) - extract(epoch from approved_at))) / 3600 as double) as numerator,
  cast(count(*) as double) as denominator
from system.changes
where state = 'confirmed' and closed_at is not null and approved_at is not null
group by 1, 2, 3
