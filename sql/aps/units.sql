--! description = "How many there are of each tool and skill"
--! key = ["unit_id", "pool"]
--! checks = ["capacity >= 0"]
select resource_id as unit_id, resource_id as pool, cast(least(1000, floor(cast(sum(capacity) as double))) as bigint) as capacity
from mes.resources
group by resource_id
