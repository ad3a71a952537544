-- Request lines with their head; packs become pieces.
select
  l.request_id,
  cast(l.position as int) as line_no,
  r.account_id as customer_id,
  r.customer_po,
  l.product_code as item_id,
  cast(null as text) as site_id,
  cast(l.packs * p.pack_size as decimal(18,6)) as quantity,
  l.wanted_on as requested_date,
  case r.state
    when 'draft' then 'draft'
    when 'offered' then 'quoted'
    when 'won' then 'won'
    when 'lost' then 'lost'
    when 'withdrawn' then 'cancelled'
  end as status,
  r.created_at,
  r.won_at,
  r.erp_order as erp_order_id,
  cast(null as int) as erp_line_no,
  l.promised_on as promised,
  r.owner,
  l.request_id || '/' || cast(l.position as text) as source_id,
  greatest(l.updated_at, r.updated_at) as changed_at
from order_request_line as l
join order_request as r on r.request_id = l.request_id
join product as p on p.product_code = l.product_code
