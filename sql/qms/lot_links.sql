--! description = "Which lot went into which, over one work order (and batch, where kept)"
--! key = ["from_lot", "to_lot", "work_order_id"]
with inputs as (
  select work_order_id, batch, lot_id, item_id from mes.lot_transformations where direction = 'input'
),
outputs as (
  select work_order_id, batch, lot_id, item_id, at from mes.lot_transformations where direction = 'output'
)
select
  i.lot_id as from_lot, o.lot_id as to_lot, o.work_order_id,
  min(i.item_id) as from_item_id, min(o.item_id) as to_item_id, min(o.at) as at
from inputs as i
join outputs as o on o.work_order_id = i.work_order_id and coalesce(o.batch = i.batch, true)
where i.lot_id <> o.lot_id
group by i.lot_id, o.lot_id, o.work_order_id
