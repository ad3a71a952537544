--! description = "Days that goods of suppliers came later than the agreed lead time, on average"
--! key = ["day", "supplier_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Lead-time error"
--! unit = "days"
--! scale = 1.0
--! better = "lower"
--! target = 0.0
--! source = "mean of (received - ordered) - planned"
--! node = "srm"
select
  received_on as day, supplier_id,
  cast(sum(lead_time_days - planned_lead_time_days) as double) as numerator,
  cast(count(*) as double) as denominator
from srm.purchase_lines
where lead_time_days is not null and planned_lead_time_days is not null
group by received_on, supplier_id
