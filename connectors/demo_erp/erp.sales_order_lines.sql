-- Schedule lines of customers' orders; cartons (KAR) become pieces.
select
  p."AUFNR" as order_id,
  cast(p."POSNR" as int) as line_no,
  cast(p."EINT" as int) as schedule_no,
  ltrim(p."AUFNR", '0') as order_number,
  case when a."HERK" like 'REQ-%' then a."HERK" end as request_id,
  a."KDNR" as customer_id,
  a."KDBEST" as customer_po,
  p."MATNR" as item_id,
  p."WERK" as site_id,
  cast(p."VKMENGE" * coalesce(u."UMZ", 1) / coalesce(u."UMN", 1) as decimal(18,6)) as quantity,
  cast(p."GELIEF" * coalesce(u."UMZ", 1) / coalesce(u."UMN", 1) as decimal(18,6)) as shipped,
  cast(cast(p."VKPREIS" as decimal(18,6)) * coalesce(u."UMN", 1) / coalesce(u."UMZ", 1) as decimal(18,6)) as price,
  a."WAERS" as currency,
  a."ANLZT" as ordered_at,
  p."WUNSCHT" as requested_date,
  p."ERSTZUS" as first_promised,
  p."ZUSAGE" as promised,
  cast(null as int) as priority,
  case p."STATUS"
    when '10' then 'draft'
    when '20' then 'confirmed'
    when '30' then 'shipped'
    when '40' then 'closed'
    when '90' then 'cancelled'
  end as status,
  p."AUFNR" || '/' || cast(p."POSNR" as text) || '/' || cast(p."EINT" as text) as source_id,
  p."AENDZT" as changed_at
from aufp as p
join auf as a on a."AUFNR" = p."AUFNR"
left join matu as u on u."MATNR" = p."MATNR" and u."MEINH" = p."VKME"
