-- Lines of orders to suppliers; a price is for a price unit of usually a hundred.
select
  p."BESTNR" as order_id,
  cast(p."POSNR" as int) as line_no,
  cast(1 as int) as schedule_no,
  ltrim(p."BESTNR", '0') as order_number,
  b."LFNR" as supplier_id,
  p."MATNR" as item_id,
  p."WERK" as site_id,
  cast(p."MENGE" as decimal(18,6)) as quantity,
  cast(p."WEMENGE" as decimal(18,6)) as received,
  b."ANLZT" as ordered_at,
  p."WUNSCHT" as requested_date,
  p."ERSTBEST" as first_confirmed,
  p."BESTT" as confirmed,
  cast(cast(p."PREIS" as decimal(18,6)) / p."PREH" as decimal(18,6)) as price,
  b."WAERS" as currency,
  p."EXTREF" as external_ref,
  case p."STATUS"
    when '05' then 'draft'
    when '10' then 'ordered'
    when '20' then 'confirmed'
    when '40' then 'received'
    when '50' then 'closed'
    when '90' then 'cancelled'
  end as status,
  p."BESTNR" || '/' || cast(p."POSNR" as text) as source_id,
  p."AENDZT" as changed_at
from bestp as p
join best as b on b."BESTNR" = p."BESTNR"
