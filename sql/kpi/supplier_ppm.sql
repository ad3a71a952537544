--! description = "Rejected quantity for a million received"
--! key = ["day", "supplier_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Supplier defects"
--! unit = "ppm"
--! scale = 1000000.0
--! better = "lower"
--! target = 2500.0
--! source = "rejected / received x 10^6"
--! node = "srm"
select
  cast(received_at as date) as day, coalesce(supplier_id, '-') as supplier_id,
  cast(sum(quantity - accepted) as double) as numerator,
  cast(sum(quantity) as double) as denominator
from wms.receipts
where kind = 'purchase' and accepted is not null
group by 1, 2
