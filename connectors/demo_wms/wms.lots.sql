-- Lots; the letter is the quality status.
select
  lot_no as lot_id,
  article as item_id,
  lot_no as lot_number,
  vendor_code as supplier_id,
  vendor_lot as supplier_lot,
  made_utc as made_at,
  cast(best_before as timestamp(6) with time zone) as expires_at,
  case qs when 'F' then 'released' when 'Q' then 'inspection' when 'S' then 'hold' when 'X' then 'rejected' end as quality_status,
  lot_no as source_id,
  cast(rv as text) as source_version
from lot
