-- Suppliers; printed without leading zeros.
select
  "LFNR" as supplier_id,
  ltrim("LFNR", '0') as supplier_number,
  "NAME1" as name,
  "USTID" as tax_id,
  "ORT" as city,
  "LAND" as country,
  case "FREIG" when '1' then 'approved' when '2' then 'conditional' when '9' then 'blocked' end as approval_status,
  "WAERS" as currency,
  "INCO" as incoterm,
  cast(null as text) as parent_id,
  "LFNR" as source_id,
  "AENDZT" as changed_at
from lif
