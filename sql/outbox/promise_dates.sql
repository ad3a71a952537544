--! description = "Promise that each open order line should have in the ERP"
--! key = ["system", "order_id", "line_no", "schedule_no"]
--! checks = ["promised is not null"]
-- A promise is kept unless it cannot be met by more than two days: dates that jump about are worth nothing to a customer.
with projected as (
  select l.*, a.available, a.reason, case when a.available is not null then greatest(a.available, l.requested_date) end as possible
  from scm.order_lines as l
  join scm.atp as a on a.line_id = l.line_id
),
decided as (
  select
    *,
    case
      when promised is null then possible
      when available > promised + 2 then available
      else promised
    end as wanted
  from projected
)
select
  system, order_id, source_order_id, line_no, schedule_no, wanted as promised, coalesce(first_promised, promised, wanted) as first_promised,
  case
    when promised is null then 'first promise: ' || coalesce(reason, 'can be delivered')
    when wanted > promised then cast(wanted - promised as text) || ' days later than promised: ' || coalesce(reason, 'no earlier supply')
    else 'as promised'
  end as _reason,
  case when promised is null or wanted = promised then 'auto' else 'approve' end as _mode -- worse news is for sales to give
from decided
where wanted is not null
