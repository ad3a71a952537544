-- Shifts.
select
  "KALID" as calendar_id,
  "BEGZT" as starts_at,
  "ENDZT" as ends_at,
  cast("KAPAZ" as decimal(18,6)) as capacity,
  case "ART" when 'A' then 'working' when 'U' then 'overtime' when 'Z' then 'closed' end as kind
from kal
