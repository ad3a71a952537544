-- Tryton has one list of parties: a customer is a party that sales has dealt with.
with dealt as (
  select party from sale_sale union select party from sale_opportunity where party is not null union select customer from sale_complaint
),
addresses as (
  select party, min(id) as id from party_address where active group by party
)
select
  cast(p.id as text) as customer_id,
  p.code as customer_number,
  cast(p.id as text) as erp_customer_id,
  coalesce(p.name, p.code) as name,
  cast(null as text) as tax_id,
  a.street_name as street,
  a.city,
  c.code as country,
  cast(null as text) as segment,
  cast(null as int) as priority,
  cast(null as text) as owner,
  case when p.active then 'active' else 'inactive' end as status,
  cast(p.id as text) as source_id,
  cast(p.write_date as text) as source_version,
  coalesce(p.write_date, p.create_date) as changed_at
from party_party as p
join dealt as d on d.party = p.id
left join addresses as f on f.party = p.id
left join party_address as a on a.id = f.id
left join country_country as c on c.id = a.country
