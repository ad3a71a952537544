--! description = "Work orders that the ERP should have as proposals: planned production to begin within two weeks"
--! key = ["system", "proposal_id"]
--! clock = "day"
--! checks = ["quantity > 0"]
-- Proposals that became work orders keep their ids; a new need of the same day gets the next one.
with used as (
  select regexp_replace(external_ref, '/[0-9]+$', '') as proposal_id, count(*) as orders from erp.work_orders where external_ref is not null group by 1
)
select
  i.system, p.proposal_id || case when u.orders > 0 then '/' || cast(u.orders + 1 as text) else '' end as proposal_id, p.item_id, i.source_item_id, p.site_id, i.source_site_id, p.quantity,
  p.start as start_date, p.due as due_date, p.reason as _reason,
  case when p.due < current_date + i.planning_fence_days then 'approve' else 'auto' end as _mode
from scm.planned_orders as p
join scm.items as i on i.item_id = p.item_id and i.site_id = p.site_id
left join used as u on u.proposal_id = p.proposal_id
where i.planning_method = 'mrp' and p.make_buy = 'make' and p.action <> 'error' and p.start <= current_date + 14
