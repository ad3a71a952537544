--! description = "Seconds to change a work centre from one family to another"
--! key = ["resource_id", "from_family", "to_family"]
--! checks = ["seconds >= 0"]
select work_center_id as resource_id, from_family, to_family, max(seconds) as seconds
from mes.setup_times
group by work_center_id, from_family, to_family
