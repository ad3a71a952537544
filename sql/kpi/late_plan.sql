--! description = "Planned orders that cannot come when they are needed, of all planned orders"
--! key = ["day", "make_buy"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Planned too late"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 5.0
--! source = "domain practice: infeasible / planned orders"
--! node = "scm"
select
  current_date as day, make_buy,
  cast(sum(case when late_days > 0 then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from scm.planned_orders
where action <> 'error'
group by make_buy
