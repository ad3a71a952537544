--! description = "Documents that never reached the next system, and records that cannot be right"
--! key = ["day"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Information gaps"
--! unit = "documents"
--! scale = 1.0
--! better = "lower"
--! target = 0.0
--! source = "domain practice: count of xref.information_gaps"
--! node = "loop"
select current_date as day, cast(count(*) as double) as numerator, cast(1 as double) as denominator
from xref.information_gaps
