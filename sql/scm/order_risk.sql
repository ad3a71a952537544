--! description = "Open order lines that will miss their promise, with value and cause"
--! key = ["line_id"]
--! clock = "day"
with lines as (
  select *, coalesce(first_promised, promised, requested_date) as committed from scm.order_lines
)
select
  l.line_id, l.order_id, l.line_no, l.schedule_no, l.customer_id, l.item_id, l.site_id, l.quantity, l.value, l.currency,
  l.requested_date, l.first_promised, l.promised, a.available as projected,
  case when a.available is not null then greatest(0, a.available - l.committed) end as days_late,
  case
    when l.committed < current_date then 'overdue'
    when a.available is null then 'no supply'
    when a.available > l.committed then 'late'
    else 'safe'
  end as risk,
  a.basis, a.reason
from lines as l
join scm.atp as a on a.line_id = l.line_id
