--! description = "Tools and skills that open operations need besides their work centre"
--! key = ["order_id", "operation_no", "pool"]
--! checks = ["count >= 0"]
select
  work_order_id as order_id, cast(operation_no as bigint) as operation_no, resource_id as pool,
  cast(max(coalesce(quantity, 1)) as bigint) as count
from mes.operation_resources
group by work_order_id, operation_no, resource_id
