-- A lot's quality status as the warehouse's letter.
select
  source_lot_id as lot_no,
  case quality_status when 'hold' then 'S' when 'rejected' then 'X' when 'released' then 'F' end as qs,
  _reason,
  _mode
from outbox.lot_holds
