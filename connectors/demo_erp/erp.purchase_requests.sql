-- Purchase requests.
select
  lpad(cast("BANFN" as text), 10, '0') as request_id,
  cast(1 as int) as line_no,
  "MATNR" as item_id,
  "WERK" as site_id,
  cast("MENGE" as decimal(18,6)) as quantity,
  "BEDT" as needed_date,
  "LFNR" as supplier_id,
  case "STATUS"
    when '10' then 'proposed'
    when '20' then 'approved'
    when '30' then 'ordered'
    when '80' then 'rejected'
    when '90' then 'cancelled'
  end as status,
  "EXTREF" as external_ref,
  "BESTNR" as order_id,
  "ANLZT" as created_at,
  cast("BANFN" as text) as source_id,
  "AENDZT" as changed_at
from banf
