with dealt as (
  select party from purchase_purchase union select party from purchase_product_supplier
),
tax_ids as (
  select party, min(code) as code from party_identifier where type = 'eu_vat' group by party
),
home as (
  select max(y.code) as code from company_company as c join currency_currency as y on y.id = c.currency
)
select
  cast(p.id as text) as supplier_id,
  p.code as supplier_number,
  coalesce(p.name, p.code) as name,
  t.code as tax_id,
  cast(null as text) as city,
  cast(null as text) as country,
  -- Tryton has no approval of suppliers: one that is listed may be bought from
  case when p.active then 'approved' else 'blocked' end as approval_status,
  home.code as currency,
  cast(null as text) as incoterm,
  cast(null as text) as parent_id,
  cast(p.id as text) as source_id,
  cast(p.write_date as text) as source_version,
  coalesce(p.write_date, p.create_date) as changed_at
from party_party as p
join dealt as d on d.party = p.id
left join tax_ids as t on t.party = p.id
cross join home
