--! description = "Open order lines of planned items, as available-to-promise takes them"
--! key = ["line_id"]
select
  l.line_id, l.item_id, l.site_id, l.requested_date as requested, l.promised, l.quantity, l.priority
from scm.order_lines as l
join scm.promise_items as i on i.item_id = l.item_id and i.site_id = l.site_id
