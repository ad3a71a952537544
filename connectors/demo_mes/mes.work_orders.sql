-- Jobs.
select
  cast(id as text) as work_order_id,
  host_no as external_ref,
  cast(product_id as text) as item_id,
  plant as site_id,
  cast(qty as decimal(18,6)) as quantity,
  cast(good as decimal(18,6)) as good,
  cast(scrap as decimal(18,6)) as scrap,
  cast(to_timestamp_millis(due_ms) as date) as due_date,
  case state
    when 0 then 'planned'
    when 1 then 'released'
    when 2 then 'started'
    when 3 then 'completed'
    when 4 then 'closed'
    when 9 then 'cancelled'
  end as status,
  cast(null as boolean) as firm,
  cast(null as text) as demand_ref,
  cast(to_timestamp_millis(started_ms) as timestamp(6) with time zone) as started_at,
  cast(to_timestamp_millis(finished_ms) as timestamp(6) with time zone) as completed_at,
  cast(id as text) as source_id,
  cast(to_timestamp_millis(modified_ms) as timestamp(6) with time zone) as changed_at
from job
