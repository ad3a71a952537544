--! description = "Value of open order lines past their promise, of all open order lines"
--! key = ["day", "site_id"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Overdue backlog"
--! unit = "%"
--! scale = 100.0
--! better = "lower"
--! target = 2.0
--! source = "domain practice: overdue / open order value"
--! node = "erp"
select
  current_date as day, site_id,
  sum(case when coalesce(first_promised, promised, requested_date) < current_date then value else 0 end) as numerator,
  sum(value) as denominator
from scm.order_lines
group by site_id
