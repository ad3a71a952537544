--! description = "Counted positions within tolerance, of all counted"
--! key = ["day", "site_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Stock record accuracy"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 98.0
--! source = "domain practice: counts within tolerance / counts"
--! node = "wms"
select
  cast(at as date) as day, site_id,
  cast(sum(case when abs(cast(counted - expected as double)) <= coalesce(tolerance, 0.01) * abs(cast(expected as double)) then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from wms.counts
group by 1, 2
