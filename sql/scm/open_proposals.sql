--! description = "The hub's own proposals that nobody has acted on yet; a plan is matched to them first, so that a moved date stays the same proposal"
--! key = ["proposal_id"]
--! checks = ["quantity > 0"]
with requests as (
  select
    -- a proposal that was split over suppliers is one proposal: '/1', '/2' are its parts
    regexp_replace(external_ref, '/[0-9]+$', '') as proposal_id, item_id, site_id, needed_date as due, quantity
  from erp.purchase_requests
  where status = 'proposed' and external_ref is not null
),
planned as (
  select regexp_replace(external_ref, '/[0-9]+$', ''), item_id, site_id, due_date, quantity
  from erp.planned_orders
  where external_ref is not null and not firm
),
combined as (
  select * from requests
  union all
  select * from planned
)
select proposal_id, min(item_id) as item_id, min(site_id) as site_id, min(due) as due, cast(sum(quantity) as decimal(18,6)) as quantity
from combined
group by proposal_id
