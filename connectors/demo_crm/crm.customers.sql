-- Accounts; the ERP's number is there for most of them only.
select
  account_id as customer_id,
  cast(null as text) as customer_number,
  erp_number as erp_customer_id,
  name,
  vat_id as tax_id,
  street,
  city,
  country,
  segment,
  cast(priority as int) as priority,
  owner,
  case state
    when 'lead' then 'prospect'
    when 'active' then 'active'
    when 'locked' then 'blocked'
    when 'archived' then 'inactive'
  end as status,
  account_id as source_id,
  updated_at as changed_at
from account
