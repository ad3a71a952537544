--! description = "Which customers of all systems are the same: by the ERP's number, then by tax id"
--! key = ["system", "source_key"]
--! checks = ["score between 0 and 1"]
with erp as (
  select
    system, customer_id as source_key, customer_number, tax_id,
    -- two ERPs may use the same key for different customers
    case when count(*) over (partition by customer_id) = 1 then customer_id else system || ':' || customer_id end as hub_id
  from mapped.erp__customers
),
seen as (
  select system, customer_id as source_key, erp_customer_id, tax_id from mapped.crm__customers
  union all
  select distinct system, customer_id, customer_id as erp_customer_id, cast(null as text) from mapped.wms__shipments where customer_id is not null
),
others as (
  select s.system, s.source_key, max(s.erp_customer_id) as erp_customer_id, max(s.tax_id) as tax_id
  from seen as s
  left join erp as e on e.system = s.system and e.source_key = s.source_key
  where e.source_key is null
  group by s.system, s.source_key
),
erp_names as (
  select upper(trim(source_key)) as token, hub_id from erp
  union
  select upper(trim(customer_number)), hub_id from erp where customer_number is not null
  union
  select 'TAX ' || regexp_replace(upper(tax_id), '[^A-Z0-9]', '', 'g'), hub_id from erp where tax_id is not null
),
-- a name that two customers share tells nothing
clear_names as (
  select token, min(hub_id) as hub_id from erp_names group by token having count(distinct hub_id) = 1
),
claims as (
  select system, source_key, upper(trim(erp_customer_id)) as token, 'ERP number' as rule, 1 as rank from others
  union all
  select system, source_key, 'TAX ' || regexp_replace(upper(tax_id), '[^A-Z0-9]', '', 'g'), 'tax id', 2 from others where tax_id is not null
),
clear_claims as (
  select *, count(*) over (partition by system, token) as claimants from claims where token is not null
),
matches as (
  select
    c.system, c.source_key, n.hub_id, c.rule,
    row_number() over (partition by c.system, c.source_key order by c.rank, n.hub_id) as nth
  from clear_claims as c
  join clear_names as n on n.token = c.token
  where c.rank = 1 or c.claimants = 1
)
select system, source_key, hub_id, 'ERP key' as rule, 1.0 as score from erp
union all
select
  o.system, o.source_key, coalesce(m.hub_id, o.system || ':' || o.source_key), coalesce(m.rule, 'unmatched'),
  case when m.hub_id is null then 0.0 else 1.0 end
from others as o
left join matches as m on m.system = o.system and m.source_key = o.source_key and m.nth = 1
