--! description = "Supply as customers can be promised it: work orders when the finite schedule ends them, planned orders included"
--! key = ["supply_id"]
--! clock = "day"
with schedule as (
  select order_id, cast(max(order_ends_at) as date) as ends_on from aps.schedule group by order_id
),
supply as (
  select
    s.supply_id, s.item_id, s.site_id, s.quantity,
    -- nothing comes in the past; goods are in stock the day after production ends
    greatest(current_date, case when a.ends_on is null then s.due else cast(a.ends_on + 1 as date) end) as due
  from scm.supply as s
  left join schedule as a on s.supply_id = 'wo:' || a.order_id
),
planned as (
  select 'proposal:' || proposal_id as supply_id, item_id, site_id, quantity, greatest(current_date, due) as due
  from scm.planned_orders
  where action <> 'error'
)
select supply_id, item_id, site_id, due, quantity from supply
union all
select supply_id, item_id, site_id, due, quantity from planned
union all
select transfer_id, item_id, to_site_id, due, quantity from scm.transfers
