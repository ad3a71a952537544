--! description = "Which suppliers of all systems are the same: by the ERP's number, then by tax id"
--! key = ["system", "source_key"]
--! checks = ["score between 0 and 1"]
with erp as (
  select
    system, supplier_id as source_key, supplier_number, tax_id,
    case when count(*) over (partition by supplier_id) = 1 then supplier_id else system || ':' || supplier_id end as hub_id
  from mapped.erp__suppliers
),
seen as (
  select system, supplier_id as source_key, supplier_number, tax_id from mapped.wms__suppliers
  union all
  select distinct system, supplier_id, cast(null as text), cast(null as text) from mapped.wms__receipts where supplier_id is not null
),
others as (
  select s.system, s.source_key, max(s.supplier_number) as supplier_number, max(s.tax_id) as tax_id
  from seen as s
  left join erp as e on e.system = s.system and e.source_key = s.source_key
  where e.source_key is null
  group by s.system, s.source_key
),
erp_names as (
  select upper(trim(source_key)) as token, hub_id from erp
  union
  select upper(trim(supplier_number)), hub_id from erp where supplier_number is not null
  union
  select 'TAX ' || regexp_replace(upper(tax_id), '[^A-Z0-9]', '', 'g'), hub_id from erp where tax_id is not null
),
clear_names as (
  select token, min(hub_id) as hub_id from erp_names group by token having count(distinct hub_id) = 1
),
claims as (
  select system, source_key, upper(trim(supplier_number)) as token, 'ERP number' as rule, 1 as rank from others where supplier_number is not null
  union all
  select system, source_key, 'TAX ' || regexp_replace(upper(tax_id), '[^A-Z0-9]', '', 'g'), 'tax id', 2 from others where tax_id is not null
  union all
  select system, source_key, upper(trim(source_key)), 'same key', 3 from others where supplier_number is null and tax_id is null
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
