--! description = "Work centre, start and end that each operation not yet started should have in the MES"
--! key = ["system", "work_order_id", "operation_no"]
--! clock = "hour"
--! checks = ["planned_end >= planned_start"]
with open_operations as (
  select * from mes.operations where status in ('pending', 'ready') and not coalesce(locked, false)
),
scheduled as (
  select
    o.system, o.work_order_id, o.source_work_order_id, o.operation_no, o.work_center_id as old_center_id,
    coalesce(c.work_center_id, o.work_center_id) as work_center_id, coalesce(c.source_work_center_id, o.source_work_center_id) as source_work_center_id,
    o.planned_start as old_start, o.planned_end as old_end, s.reason, s.late_s,
    cast(date_trunc('minute', s.starts_at) as timestamp(6) with time zone) as new_start,
    cast(date_trunc('minute', s.ends_at) as timestamp(6) with time zone) as new_end
  from open_operations as o
  join aps.schedule as s on s.order_id = o.work_order_id and s.operation_no = o.operation_no and s.starts_at is not null
  left join mes.work_centers as c on c.system = o.system and c.work_center_id = s.resource_id
),
judged as (
  select
    *,
    -- half an hour is within what a shift moves by itself
    coalesce(
      (work_center_id is not distinct from old_center_id)
        and abs(extract(epoch from new_start) - extract(epoch from old_start)) <= 1800
        and abs(extract(epoch from new_end) - extract(epoch from old_end)) <= 1800, false
    ) as same
  from scheduled
)
select
  system, work_order_id, source_work_order_id, operation_no, work_center_id, source_work_center_id,
  case when same then old_start else new_start end as planned_start,
  case when same then old_end else new_end end as planned_end,
  case when same then 'as planned' else coalesce(reason, 'earliest free time') || case when late_s > 0 then '; the order ends late' else '' end end as _reason,
  -- what starts within four hours is being prepared: the dispatcher decides
  case when not same and old_start is not null and old_start < now() + interval '4 hours' and old_start > now() then 'approve' else 'auto' end as _mode
from judged
