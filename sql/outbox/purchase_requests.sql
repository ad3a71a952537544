--! description = "Purchase requests that the ERP should have: planned purchases to be ordered within two weeks"
--! key = ["system", "proposal_id"]
--! clock = "day"
--! checks = ["quantity > 0"]
with prices as (
  -- the price that the quantity reaches
  select
    p.proposal_id, o.price, o.currency, row_number() over (partition by p.proposal_id order by o.min_quantity desc, o.valid_from desc) as nth
  from srm.purchase_proposals as p
  join erp.supplier_items as o
    on o.supplier_id = p.supplier_id and o.item_id = p.item_id and o.site_id = p.site_id and o.min_quantity <= p.quantity
  where o.valid_from <= p.needed_date and (o.valid_to is null or o.valid_to >= p.needed_date)
)
select
  i.system, p.proposal_id, p.item_id, i.source_item_id, p.site_id, i.source_site_id, p.quantity, p.needed_date,
  p.supplier_id, s.source_supplier_id,
  p.reason || case
    when p.supplier_id is null then '; no supplier offers it'
    else '; from ' || p.supplier_name || ', ' || cast(round(cast(p.quantity * c.price as double), 2) as text) || ' ' || c.currency
  end as _reason,
  case
    when p.supplier_id is null or p.approval_status <> 'approved' then 'approve'
    when coalesce(p.quantity * c.price, 100000) > 10000 then 'approve' -- above this value a buyer decides
    when p.needed_date < current_date + i.zone_days then 'approve'
    else 'auto'
  end as _mode
from srm.purchase_proposals as p
join scm.items as i on i.item_id = p.item_id and i.site_id = p.site_id
left join prices as c on c.proposal_id = p.proposal_id and c.nth = 1
left join erp.suppliers as s on s.supplier_id = p.supplier_id and s.system = i.system
where i.planning_method = 'mrp' and p.order_date <= current_date + 14 -- what is further ahead will change before anybody needs to act
