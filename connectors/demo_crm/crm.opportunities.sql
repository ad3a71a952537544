-- One product for each opportunity.
select
  opportunity_id,
  cast(1 as int) as line_no,
  account_id as customer_id,
  product_code as item_id,
  cast(pieces as decimal(18,6)) as quantity,
  cast(probability_pct as double) / 100 as probability,
  close_on as close_date,
  cast(null as date) as wanted_date,
  case stage
    when 'qualify' then 'open'
    when 'propose' then 'open'
    when 'negotiate' then 'open'
    when 'closed_won' then 'won'
    when 'closed_lost' then 'lost'
  end as stage,
  erp_order as order_id,
  owner,
  opportunity_id as source_id,
  updated_at as changed_at
from opportunity
