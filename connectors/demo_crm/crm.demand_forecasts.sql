-- Monthly forecast of sales, in packs there.
select
  f.product_code as item_id,
  f.ship_from as site_id,
  cast(null as text) as customer_id,
  f.month_start as bucket_start,
  cast(f.days as int) as bucket_days,
  f.version,
  cast(f.packs * p.pack_size as decimal(18,6)) as quantity,
  f.forecast_id,
  f.forecast_id as source_id
from forecast as f
join product as p on p.product_code = f.product_code
