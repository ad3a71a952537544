--! description = "Finite-capacity schedule: which operation runs where and when, and why not earlier"
--! key = ["order_id", "operation_no"]
--! clock = "hour"
--! checks = ["ends_at >= starts_at"]
select * from schedule('aps.operations', 'aps.calendars')
