--! description = "Complaint lines for a thousand shipped lines"
--! key = ["day"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Complaints"
--! unit = "per 1,000 lines"
--! scale = 1000.0
--! better = "lower"
--! target = 5.0
--! source = "domain practice: complaints / shipped lines"
--! node = "crm"
with complaints as (
  select cast(received_at as date) as day, count(*) as lines from crm.complaints where status <> 'rejected' group by 1
),
shipments as (
  select cast(shipped_at as date) as day, count(*) as lines from wms.shipments group by 1
)
select
  coalesce(s.day, c.day) as day,
  cast(coalesce(c.lines, 0) as double) as numerator,
  cast(coalesce(s.lines, 0) as double) as denominator
from shipments as s
full join complaints as c on c.day = s.day
