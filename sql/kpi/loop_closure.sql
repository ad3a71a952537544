--! description = "Approved changes that a later pull showed in the target system"
--! key = ["day", "system", "kind"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Loop closure"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 98.0
--! source = "domain practice: confirmed / approved changes"
--! node = "loop"
select
  cast(approved_at as date) as day, system, kind,
  cast(sum(case when state in ('confirmed', 'undone') then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from system.changes
where approved_at is not null and state not in ('superseded', 'expired', 'rejected')
group by 1, 2, 3
