--! description = "Which items of all systems are the same: by item number, then by GTIN"
--! key = ["system", "source_key"]
--! checks = ["score between 0 and 1"]
with erp as (
  select
    system, item_id as source_key, item_number, gtin,
    case when count(*) over (partition by item_id) = 1 then item_id else system || ':' || item_id end as hub_id
  from mapped.erp__items
),
seen as (
  select system, item_id as source_key, item_number, gtin from mapped.crm__items
  union all
  select system, item_id, item_number, gtin from mapped.mes__items
  union all
  select system, item_id, item_number, gtin from mapped.wms__items
  union all
  -- products without an item list of their own
  select distinct system, item_id, cast(null as text), cast(null as text) from mapped.crm__order_requests
  union all
  select distinct system, item_id, cast(null as text), cast(null as text) from mapped.mes__work_orders
  union all
  select distinct system, item_id, cast(null as text), cast(null as text) from mapped.wms__stock
),
others as (
  select s.system, s.source_key, max(s.item_number) as item_number, max(s.gtin) as gtin
  from seen as s
  left join erp as e on e.system = s.system and e.source_key = s.source_key
  where e.source_key is null
  group by s.system, s.source_key
),
erp_names as (
  select upper(trim(source_key)) as token, hub_id from erp
  union
  select upper(trim(item_number)), hub_id from erp where item_number is not null
  union
  select 'GTIN ' || gtin, hub_id from erp where gtin is not null
),
clear_names as (
  select token, min(hub_id) as hub_id from erp_names group by token having count(distinct hub_id) = 1
),
claims as (
  select system, source_key, upper(trim(item_number)) as token, 'item number' as rule, 1 as rank from others where item_number is not null
  union all
  select system, source_key, 'GTIN ' || gtin, 'GTIN', 2 from others where gtin is not null
  union all
  -- a key of its own says nothing where the system keeps the number beside it
  select system, source_key, upper(trim(source_key)), 'same key', 3 from others where item_number is null and gtin is null
),
matches as (
  select
    c.system, c.source_key, n.hub_id, c.rule,
    row_number() over (partition by c.system, c.source_key order by c.rank, n.hub_id) as nth
  from claims as c
  join clear_names as n on n.token = c.token
)
select system, source_key, hub_id, 'ERP key' as rule, 1.0 as score from erp
union all
select
  o.system, o.source_key, coalesce(m.hub_id, o.system || ':' || o.source_key), coalesce(m.rule, 'unmatched'),
  case when m.hub_id is null then 0.0 else 1.0 end
from others as o
left join matches as m on m.system = o.system and m.source_key = o.source_key and m.nth = 1
