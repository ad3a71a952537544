--! description = "Which work centres of the ERP's routings and of the shop floor are the same"
--! key = ["system", "source_key"]
with erp_keys as (
  select distinct system, work_center_id as source_key from mapped.erp__routing_operations
),
erp as (
  select
    system, source_key,
    case when count(*) over (partition by source_key) = 1 then source_key else system || ':' || source_key end as hub_id
  from erp_keys
),
others as (
  select s.system, s.work_center_id as source_key, coalesce(s.external_ref, s.work_center_id) as erp_key
  from mapped.mes__work_centers as s
  left join erp as e on e.system = s.system and e.source_key = s.work_center_id
  where e.source_key is null
),
clear_names as (
  select upper(trim(source_key)) as token, min(hub_id) as hub_id from erp group by 1 having count(distinct hub_id) = 1
)
select system, source_key, hub_id, 'ERP key' as rule, 1.0 as score from erp
union all
select
  o.system, o.source_key, coalesce(n.hub_id, o.system || ':' || o.source_key),
  case when n.hub_id is null then 'unmatched' else 'ERP number' end,
  case when n.hub_id is null then 0.0 else 1.0 end
from others as o
left join clear_names as n on n.token = upper(trim(o.erp_key))
