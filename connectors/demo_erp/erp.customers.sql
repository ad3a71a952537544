-- Customers; printed without leading zeros.
select
  "KDNR" as customer_id,
  ltrim("KDNR", '0') as customer_number,
  "NAME1" as name,
  "USTID" as tax_id,
  "ORT" as city,
  "LAND" as country,
  cast("PRIO" as int) as priority,
  "WAERS" as currency,
  case "SPERR" when '' then 'active' when 'G' then 'blocked' when 'X' then 'inactive' end as status,
  "KDNR" as source_id,
  "AENDZT" as changed_at
from kna
