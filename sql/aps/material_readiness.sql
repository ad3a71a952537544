--! description = "From when on the material of each open work order is there: supply is given to the orders by due date"
--! key = ["work_order_id", "item_id"]
--! clock = "day"
--! checks = ["quantity > 0"]
with needs as (
  select
    m.*,
    sum(m.quantity) over (
      partition by m.item_id, m.site_id order by m.due_date, m.work_order_id rows between unbounded preceding and current row
    ) as needed_until
  from scm.work_order_materials as m
),
supply as (
  select item_id, site_id, greatest(current_date, due) as due, quantity, supply_id, kind from scm.supply
  union all
  select item_id, site_id, greatest(current_date, due), quantity, 'proposal:' || proposal_id, 'proposal'
  from scm.planned_orders
  where action <> 'error'
),
running as (
  select
    *, sum(quantity) over (partition by item_id, site_id order by due, supply_id rows between unbounded preceding and current row) as supplied_until
  from supply
),
covering as (
  select
    n.work_order_id, n.item_id, r.due, r.supply_id, r.kind,
    row_number() over (partition by n.work_order_id, n.item_id order by r.due, r.supply_id) as nth
  from needs as n
  join running as r on r.item_id = n.item_id and r.site_id = n.site_id and r.supplied_until >= n.needed_until
),
in_stock as (
  select item_id, site_id, sum(nettable) as quantity from scm.stock group by item_id, site_id
)
select
  n.work_order_id, n.item_id, n.site_id, n.quantity, n.due_date,
  cast(greatest(0, least(n.quantity, n.needed_until - coalesce(s.quantity, 0))) as decimal(18,6)) as short,
  c.due as ready_on, -- null: no supply in sight
  c.kind as waits_for_kind, c.supply_id as waits_for
from needs as n
left join covering as c on c.work_order_id = n.work_order_id and c.item_id = n.item_id and c.nth = 1
left join in_stock as s on s.item_id = n.item_id and s.site_id = n.site_id
