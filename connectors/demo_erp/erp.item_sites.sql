-- How a material is planned in a plant.
select
  "MATNR" as item_id,
  "WERK" as site_id,
  case "BESKZ" when 'E' then 'make' when 'F' then 'buy' when 'U' then 'transfer' end as make_buy_transfer,
  case "DISP" when 'PD' then 'mrp' when 'VB' then 'reorder-point' when 'ND' then 'none' end as planning_method,
  cast("WBZ" as int) as lead_time_days,
  case "LOSKZ" when 'EX' then 'lot-for-lot' when 'FX' then 'fixed' when 'MB' then 'multiple' end as lot_rule,
  cast("MINLOS" as decimal(18,6)) as lot_min,
  cast("RUNDW" as decimal(18,6)) as lot_multiple,
  cast("SBEST" as decimal(18,6)) as safety_stock,
  cast("FIXHOR" as int) as demand_fence_days,
  cast("PLANHOR" as int) as planning_fence_days,
  "DISPO" as planner,
  "MATNR" || '/' || "WERK" as source_id,
  "AENDZT" as changed_at
from matw
