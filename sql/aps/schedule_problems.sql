--! description = "Operations that could not be scheduled, or are fixed against one another, with the reason; the rest of the schedule holds"
--! key = ["order_id", "operation_no"]
select order_id, operation_no, resource_id, problem, reason, starts_at
from aps.schedule
where problem is not null
