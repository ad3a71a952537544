-- Plants (P) and warehouses (L).
select
  "WERK" as site_id,
  "NAME" as name,
  case "ART" when 'P' then 'plant' when 'L' then 'warehouse' when 'F' then 'subcontractor' end as kind,
  "KALID" as calendar_id,
  "ZONE" as time_zone,
  "WAERS" as currency,
  "WERK" as source_id
from wrk
