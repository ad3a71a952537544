--! description = "Lots that the warehouse should hold"
--! key = ["system", "lot_id"]
-- A lot that the warehouse has already rejected stays rejected.
select
  l.system, h.lot_id, l.source_lot_id, l.lot_number, l.item_id, l.source_item_id, 'hold' as quality_status,
  h.reason as _reason,
  -- a lot that is only built from a suspect one may stop a plant: people decide
  case when h.direction = 'self' or h.level = 'confirmed' then 'auto' else 'approve' end as _mode
from qms.lot_holds_wanted as h
join wms.lots as l on l.lot_id = h.lot_id
where l.quality_status <> 'rejected'
