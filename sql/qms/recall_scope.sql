--! description = "What already left the house of suspect lots and of everything that they went into: which customer, which delivery"
--! key = ["case_id", "shipment_id", "line_no", "lot_id"]
with reached as (
  select
    s.case_id, g.lot_id, s.lot_id as seed, s.level, s.reason, g.path, g.depth,
    row_number() over (partition by s.case_id, g.lot_id order by g.depth, s.lot_id) as nth
  from qms.genealogy as g
  join qms.suspect_lots as s on s.lot_id = g.seed
  where g.direction in ('self', 'forward')
),
order_customers as (
  select order_id, min(customer_id) as customer_id from erp.sales_order_lines group by order_id
)
select
  r.case_id, s.shipment_id, s.line_no, s.lot_id, s.item_id, coalesce(s.customer_id, o.customer_id) as customer_id, s.order_id,
  s.quantity, s.shipped_at, r.seed, r.level, r.reason, r.path
from reached as r
join wms.shipments as s on s.lot_id = r.lot_id
left join order_customers as o on o.order_id = s.order_id
where r.nth = 1
