-- What suppliers said: confirmations (AB) and announced deliveries (LA).
select
  cast("MELDNR" as text) as response_id,
  "BESTNR" as order_id,
  cast("POSNR" as int) as line_no,
  cast(null as int) as schedule_no,
  case "ART" when 'AN' then 'quote' when 'AB' then 'confirmation' when 'LA' then 'asn' end as kind,
  cast("MENGE" as decimal(18,6)) as quantity,
  "TERMIN" as confirmed_date,
  "EINGZT" as received_at,
  cast("MELDNR" as text) as source_id,
  "AENDZT" as changed_at
from bestb
