with dealt as (
  select party from sale_sale union select customer from sale_complaint
),
tax_ids as (
  select party, min(code) as code from party_identifier where type = 'eu_vat' group by party
)
select
  cast(p.id as text) as customer_id,
  p.code as customer_number,
  coalesce(p.name, p.code) as name,
  t.code as tax_id,
  cast(null as text) as city,
  cast(null as text) as country,
  cast(null as int) as priority,
  cast(null as text) as currency,
  case when p.active then 'active' else 'inactive' end as status,
  cast(p.id as text) as source_id,
  cast(p.write_date as text) as source_version,
  coalesce(p.write_date, p.create_date) as changed_at
from party_party as p
join dealt as d on d.party = p.id
left join tax_ids as t on t.party = p.id
