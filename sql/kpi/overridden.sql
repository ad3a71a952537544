--! description = "Written changes that a person in the target system changed again, of all written"
--! key = ["day", "system", "kind"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Overridden decisions"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 10.0
--! source = "domain practice: overridden / (confirmed + overridden)"
--! node = "loop"
select
  cast(closed_at as date) as day, system, kind,
  cast(sum(case when state = 'overridden' then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from system.changes
where state in ('confirmed', 'overridden') and closed_at is not null
group by 1, 2, 3
