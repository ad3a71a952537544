--! description = "Planning parameters of each item and site that is made or bought there; sites that are supplied by another one are in scm.transfers"
--! key = ["item_id", "site_id"]
--! checks = ["lead_time_days >= 0", "safety_stock >= 0", "make_buy in ('make', 'buy')", "lot_rule in ('lot-for-lot', 'fixed', 'multiple')"]
-- Items that the ERP plans itself (reorder point) are planned here too, for comparison; only those of method mrp are written back, so each item and
-- site has one planner.
with parameters as (
  select
    p.*, i.name, i.item_type, i.stock_unit,
    row_number() over (partition by p.item_id, p.site_id order by p.system) as nth
  from erp.item_sites as p
  join erp.items as i on i.item_id = p.item_id
  where p.planning_method in ('mrp', 'reorder-point') and p.make_buy_transfer in ('make', 'buy') and i.status <> 'inactive' and i.item_type <> 'service'
)
select
  p.item_id, p.site_id, p.name, p.item_type, p.stock_unit, p.system,
  p.make_buy_transfer as make_buy,
  cast(p.lead_time_days as bigint) as lead_time_days,
  p.lot_rule, coalesce(p.lot_min, 0) as lot_min, coalesce(p.lot_multiple, 0) as lot_multiple,
  coalesce(p.safety_stock, s.safety_stock, 0) as safety_stock,
  cast(coalesce(p.demand_fence_days, 0) as bigint) as zone_days,
  cast(coalesce(p.planning_fence_days, 0) as bigint) as planning_fence_days,
  p.planner, p.planning_method, p.source_item_id, p.source_site_id
from parameters as p
left join scm.safety_stock as s on s.item_id = p.item_id and s.site_id = p.site_id
where p.nth = 1
