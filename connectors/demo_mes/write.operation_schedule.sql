-- Planned start and end of a step, in milliseconds since 1970.
select
  cast(source_work_order_id as bigint) as job_id,
  cast(operation_no as bigint) as step,
  arrow_cast(arrow_cast(planned_start, 'Timestamp(Millisecond, Some("UTC"))'), 'Int64') as plan_start_ms,
  arrow_cast(arrow_cast(planned_end, 'Timestamp(Millisecond, Some("UTC"))'), 'Int64') as plan_end_ms,
  _reason,
  _mode
from outbox.operation_schedule
