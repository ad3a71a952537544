--! description = "Which work orders of all systems are the same: by the ERP's number that the others keep"
--! key = ["system", "source_key"]
with erp_keys as (
  select system, work_order_id as source_key, order_number from mapped.erp__work_orders
),
erp as (
  select
    system, source_key, order_number,
    case when count(*) over (partition by source_key) = 1 then source_key else system || ':' || source_key end as hub_id
  from erp_keys
),
seen as (
  select system, work_order_id as source_key, coalesce(external_ref, work_order_id) as erp_key from mapped.mes__work_orders
  union all
  select distinct system, work_order_id, work_order_id as erp_key from mapped.wms__receipts where work_order_id is not null
),
others as (
  select s.system, s.source_key, max(s.erp_key) as erp_key
  from seen as s
  left join erp as e on e.system = s.system and e.source_key = s.source_key
  where e.source_key is null
  group by s.system, s.source_key
),
erp_names as (
  select upper(trim(source_key)) as token, hub_id from erp
  union
  select upper(trim(order_number)), hub_id from erp where order_number is not null
),
clear_names as (
  select token, min(hub_id) as hub_id from erp_names group by token having count(distinct hub_id) = 1
)
select system, source_key, hub_id, 'ERP key' as rule, 1.0 as score from erp
union all
select
  o.system, o.source_key, coalesce(n.hub_id, o.system || ':' || o.source_key),
  case when n.hub_id is null then 'unmatched' else 'ERP number' end,
  case when n.hub_id is null then 0.0 else 1.0 end
from others as o
left join clear_names as n on n.token = upper(trim(o.erp_key))
