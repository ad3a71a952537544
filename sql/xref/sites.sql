--! description = "Which sites of all systems are the same: by the same key, or because there is only one"
--! key = ["system", "source_key"]
with erp as (
  select
    system, site_id as source_key,
    case when count(*) over (partition by site_id) = 1 then site_id else system || ':' || site_id end as hub_id
  from mapped.erp__sites
),
seen as (
  select system, site_id as source_key from mapped.mes__work_centers
  union
  select system, site_id from mapped.mes__work_orders
  union
  select system, site_id from mapped.wms__locations
  union
  select system, site_id from mapped.crm__order_requests where site_id is not null
  union
  select system, site_id from mapped.crm__demand_forecasts
),
others as (
  select s.system, s.source_key, count(*) over (partition by s.system) as sites_of_system
  from seen as s
  left join erp as e on e.system = s.system and e.source_key = s.source_key
  where e.source_key is null
),
clear_names as (
  select upper(trim(source_key)) as token, min(hub_id) as hub_id from erp group by 1 having count(distinct hub_id) = 1
),
only_site as (
  select min(hub_id) as hub_id from erp having count(*) = 1
)
select system, source_key, hub_id, 'ERP key' as rule, 1.0 as score from erp
union all
select
  o.system, o.source_key, coalesce(n.hub_id, a.hub_id, o.system || ':' || o.source_key),
  case when n.hub_id is not null then 'same key' when a.hub_id is not null then 'only site' else 'unmatched' end,
  case when n.hub_id is not null then 1.0 when a.hub_id is not null then 0.9 else 0.0 end
from others as o
left join clear_names as n on n.token = upper(trim(o.source_key))
left join only_site as a on o.sites_of_system = 1
