-- The promise of a request's line.
select
  request_id,
  cast(line_no as bigint) as position,
  promised as promised_on,
  _reason
from outbox.crm_promise_dates
