--! description = "Which lots of all systems are the same: same item and same printed number"
--! key = ["system", "source_key"]
with seen as (
  select system, lot_id as source_key, item_id, lot_number, true as in_warehouse from mapped.wms__lots
  union all
  select system, lot_id, item_id, lot_number, false from mapped.mes__lot_transformations
  union all
  select system, lot_id, item_id, lot_number, false from mapped.mes__inspections where lot_id is not null
  union all
  select system, lot_id, item_id, lot_number, false from mapped.mes__quality_cases where lot_id is not null
  union all
  select system, lot_id, item_id, lot_number, false from mapped.crm__complaints where lot_id is not null
),
keys as (
  select
    system, source_key, max(item_id) as item_id, upper(trim(max(lot_number))) as lot_number, bool_or(in_warehouse) as in_warehouse
  from seen
  group by system, source_key
),
named as (
  select
    k.system, k.source_key, k.in_warehouse,
    -- a lot's number is unique within its item only
    coalesce(i.hub_id, k.system || ':' || k.item_id) || '/' || k.lot_number as name
  from keys as k
  left join xref.items as i on i.system = k.system and i.source_key = k.item_id
),
known as (
  select *, bool_or(in_warehouse) over (partition by name) as known_to_warehouse from named
)
select
  system, source_key,
  case when name is null then system || ':' || source_key else name end as hub_id,
  case
    when name is null then 'unmatched'
    when in_warehouse then 'warehouse lot'
    when known_to_warehouse then 'item and number'
    else 'unmatched'
  end as rule,
  case when name is not null and (in_warehouse or known_to_warehouse) then 1.0 else 0.0 end as score
from known
