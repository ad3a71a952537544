-- Bins.
select
  loc as location_id,
  warehouse as site_id,
  label as name,
  case kind
    when 'ST' then 'storage'
    when 'RC' then 'receiving'
    when 'SG' then 'staging'
    when 'PR' then 'production'
    when 'QU' then 'quarantine'
    when 'SC' then 'scrap'
    when 'SH' then 'shipping'
  end as usage,
  plannable = 'Y' as nettable,
  loc as source_id
from location
