-- Orders to the shop floor.
select
  "FANR" as work_order_id,
  ltrim("FANR", '0') as order_number,
  "MATNR" as item_id,
  "WERK" as site_id,
  cast("SOLLM" as decimal(18,6)) as quantity,
  cast("ISTM" as decimal(18,6)) as received,
  "ECKSTART" as start_date,
  "ECKEND" as due_date,
  cast(null as text) as sales_order_id,
  "EXTREF" as external_ref,
  "FREIGZT" as released_at,
  case "STATUS"
    when '10' then 'planned'
    when '15' then 'firm'
    when '20' then 'released'
    when '40' then 'completed'
    when '50' then 'closed'
    when '90' then 'cancelled'
  end as status,
  "FANR" as source_id,
  "AENDZT" as changed_at
from fauf
