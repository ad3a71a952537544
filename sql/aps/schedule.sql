--! description = "Finite-capacity schedule: which operation runs where and when, why not earlier, and how far the whole may be from the best"
--! key = ["order_id", "operation_no"]
--! clock = "hour"
--! checks = ["ends_at >= starts_at", "lower_bound <= objective"]
select *
from schedule(
  'aps.operations', 'aps.calendars',
  alternatives => 'aps.alternatives', setups => 'aps.setups', resources => 'aps.resources', needs => 'aps.needs', units => 'aps.units',
  downtime => 'aps.downtime', options => 'aps.options'
)
