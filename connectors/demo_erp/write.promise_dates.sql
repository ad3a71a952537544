-- The promise of a schedule line, and the first one where there was none.
select
  source_order_id as "AUFNR",
  cast(line_no as bigint) as "POSNR",
  cast(schedule_no as bigint) as "EINT",
  promised as "ZUSAGE",
  first_promised as "ERSTZUS",
  _reason,
  _mode
from outbox.promise_dates
