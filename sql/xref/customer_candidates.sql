--! description = "Unmatched customers that look like one of the ERP's: for a person to confirm, never applied"
--! key = ["system", "source_key", "hub_id"]
--! checks = ["score < 1"]
with unmatched as (
  select c.system, c.customer_id as source_key, c.name, c.city
  from mapped.crm__customers as c
  join xref.customers as x on x.system = c.system and x.source_key = c.customer_id
  where x.rule = 'unmatched'
),
erp as (
  select x.hub_id, c.name, c.city
  from mapped.erp__customers as c
  join xref.customers as x on x.system = c.system and x.source_key = c.customer_id
),
-- legal forms and signs are written in many ways
unmatched_plain as (
  select *, regexp_replace(regexp_replace(lower(name), '\b(gmbh|ag|kg|co|inc|ltd|llc|sa|sas|srl|bv|se)\b', '', 'g'), '[^a-z0-9]', '', 'g') as plain
  from unmatched
),
erp_plain as (
  select *, regexp_replace(regexp_replace(lower(name), '\b(gmbh|ag|kg|co|inc|ltd|llc|sa|sas|srl|bv|se)\b', '', 'g'), '[^a-z0-9]', '', 'g') as plain
  from erp
)
select
  u.system, u.source_key, e.hub_id, u.name, e.name as erp_name,
  case when lower(trim(u.city)) = lower(trim(e.city)) then 0.9 else 0.6 end as score,
  case when lower(trim(u.city)) = lower(trim(e.city)) then 'same name and city' else 'same name' end as rule
from unmatched_plain as u
join erp_plain as e on e.plain = u.plain
where u.plain <> ''
