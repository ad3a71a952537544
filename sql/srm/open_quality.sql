--! description = "Goods of suppliers that wait for inspection or were rejected and still lie here"
--! key = ["supplier_id", "item_id", "lot_id", "status"]
--! checks = ["quantity > 0"]
with lots as (
  select lot_id, item_id, supplier_id, min(supplier_lot) as supplier_lot from wms.lots where supplier_id is not null group by lot_id, item_id, supplier_id
),
stock as (
  select lot_id, status, sum(quantity) as quantity, min(as_of) as since
  from wms.stock
  where lot_id is not null and status <> 'available'
  group by lot_id, status
)
select l.supplier_id, l.item_id, l.lot_id, s.status, l.supplier_lot, cast(s.quantity as decimal(18,6)) as quantity, s.since
from stock as s
join lots as l on l.lot_id = s.lot_id
where s.quantity > 0
