--! description = "Open work orders with what is still to come out of them, from the ERP and the shop floor together"
--! key = ["work_order_id"]
--! clock = "day"
--! checks = ["remaining >= 0"]
with erp_orders as (
  select *, row_number() over (partition by work_order_id order by system) as nth from erp.work_orders
),
floor_orders as (
  select *, row_number() over (partition by work_order_id order by system) as nth from mes.work_orders
),
received as (
  select work_order_id, sum(quantity) as quantity from wms.receipts where kind = 'production' group by work_order_id
),
combined as (
  select
    coalesce(e.work_order_id, m.work_order_id) as work_order_id,
    coalesce(e.item_id, m.item_id) as item_id, coalesce(e.site_id, m.site_id) as site_id,
    coalesce(e.quantity, m.quantity) as quantity, coalesce(m.good, 0) as good, coalesce(m.scrap, 0) as scrap,
    coalesce(e.received, 0) as booked, e.start_date, coalesce(e.due_date, m.due_date) as due_date,
    e.status as erp_status, m.status as mes_status, m.work_order_id is not null as on_shop_floor,
    coalesce(e.status in ('firm', 'released'), coalesce(m.firm, false) or m.status in ('released', 'started')) as firm, e.sales_order_id,
    coalesce(e.status in ('planned', 'firm', 'released'), true) and coalesce(m.status in ('planned', 'released', 'started', 'completed'), true) as open
  from (select * from erp_orders where nth = 1) as e
  full join (select * from floor_orders where nth = 1) as m on m.work_order_id = e.work_order_id
)
select
  c.work_order_id, c.item_id, c.site_id, c.quantity, c.good, c.scrap,
  coalesce(r.quantity, 0) as received, c.start_date, coalesce(c.due_date, current_date) as due_date,
  c.erp_status, c.mes_status, c.on_shop_floor, c.firm, c.sales_order_id,
  -- what was scrapped will not come; what was received is in stock. The ERP counts where no warehouse reports production
  cast(greatest(0, c.quantity - c.scrap - greatest(coalesce(r.quantity, 0), case when r.quantity is null then c.booked else 0 end)) as decimal(18,6)) as remaining
from combined as c
left join received as r on r.work_order_id = c.work_order_id
where c.open and (c.mes_status is null or c.mes_status <> 'completed' or c.good > coalesce(r.quantity, 0))
