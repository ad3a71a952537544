--! description = "Quantity that passed its inspection at the first time, of all that was inspected"
--! key = ["day", "trigger"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "First-pass yield"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 97.0
--! source = "ISO 22400-2: GP / IP"
--! node = "qms"
select
  cast(coalesce(decided_at, created_at) as date) as day, trigger,
  cast(sum(coalesce(sample, quantity) - coalesce(rejected, 0)) as double) as numerator,
  cast(sum(coalesce(sample, quantity)) as double) as denominator
from mes.inspections
where decision <> 'pending' and coalesce(sample, quantity) > 0
group by 1, 2
