--! description = "Suspect stock that the warehouse really holds, of all suspect stock"
--! key = ["day"]
--! clock = "day"
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Suspect stock on hold"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 100.0
--! source = "domain practice: held / suspect stock"
--! node = "qms"
with lots as (
  select lot_id, bool_and(quality_status in ('hold', 'rejected')) as held from wms.lots group by lot_id
)
select
  current_date as day,
  cast(sum(case when l.held then h.quantity else 0 end) as double) as numerator,
  cast(sum(h.quantity) as double) as denominator
from qms.lot_holds_wanted as h
join lots as l on l.lot_id = h.lot_id
having count(*) > 0
