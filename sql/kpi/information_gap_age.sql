--! description = "Mean age of the information gaps"
--! key = ["day", "gap"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Age of information gaps"
--! unit = "days"
--! scale = 1.0
--! better = "lower"
--! target = 3.0
--! source = "domain practice: mean age of xref.information_gaps"
--! node = "loop"
select current_date as day, gap, cast(sum(age_days) as double) as numerator, cast(count(*) as double) as denominator
from xref.information_gaps
group by gap
