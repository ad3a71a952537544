--! description = "Planned work orders that the ERP should have as proposals: made items of the material plan"
--! key = ["system", "proposal_id"]
--! clock = "day"
--! checks = ["quantity > 0"]
select
  i.system, p.proposal_id, p.item_id, i.source_item_id, p.site_id, i.source_site_id, p.quantity,
  p.start as start_date, p.due as due_date, p.reason as _reason,
  case when p.due < current_date + i.planning_fence_days then 'approve' else 'auto' end as _mode
from scm.planned_orders as p
join scm.items as i on i.item_id = p.item_id and i.site_id = p.site_id
where p.make_buy = 'make' and p.action <> 'cancel' and p.quantity > 0
