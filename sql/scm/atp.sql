--! description = "When each open order line can be delivered from stock, orders and plan, and why not earlier"
--! key = ["line_id"]
--! clock = "day"
select * from atp('scm.promise_lines', 'scm.atp_supply', 'scm.promise_items')
