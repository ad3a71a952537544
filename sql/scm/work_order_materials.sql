--! description = "Material that open work orders still need: as the shop floor says, otherwise by the bill of materials"
--! key = ["work_order_id", "item_id"]
--! checks = ["quantity > 0"]
with listed as (
  select work_order_id, item_id, sum(required) as required, sum(issued) as issued from mes.order_materials group by work_order_id, item_id
),
orders_listed as (
  select distinct work_order_id from listed
),
from_shop_floor as (
  select w.work_order_id, l.item_id, w.site_id, w.start_date, w.due_date, l.required - l.issued as quantity
  from scm.work_orders as w
  join listed as l on l.work_order_id = w.work_order_id
  -- what a finished order did not take, it will not take
  where w.mes_status is null or w.mes_status <> 'completed'
),
from_bill as (
  select w.work_order_id, b.component_id as item_id, w.site_id, w.start_date, w.due_date, (w.quantity - w.good - w.scrap) * b.quantity_per as quantity
  from scm.work_orders as w
  join scm.bom as b on b.item_id = w.item_id
  left join orders_listed as l on l.work_order_id = w.work_order_id
  where l.work_order_id is null
),
combined as (
  select * from from_shop_floor
  union all
  select * from from_bill
)
select work_order_id, item_id, site_id, start_date, due_date, cast(quantity as decimal(18,6)) as quantity
from combined
where quantity > 0
