--! description = "Items and sites that can be promised, with the lead time of a new order or transfer"
--! key = ["item_id", "site_id"]
select item_id, site_id, lead_time_days from scm.items
union all
-- a transfer of what must be made first takes both
select p.item_id, p.site_id, cast(max(p.lead_time_days) + max(s.lead_time_days) as bigint) as lead_time_days
from erp.item_sites as p
join scm.items as s on s.item_id = p.item_id
where p.make_buy_transfer = 'transfer' and p.planning_method = 'mrp' and p.site_id <> s.site_id
group by p.item_id, p.site_id
