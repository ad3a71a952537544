--! description = "On which work centre each operation runs, of how many that could do it, and what another than the preferred one costs"
--! key = ["order_id", "operation_no"]
--! checks = ["choices >= 1"]
with others as (
  select order_id, operation_no, count(*) as others from aps.alternatives group by order_id, operation_no
)
select
  s.order_id, s.operation_no, o.item_id, s.resource_id, s.lane, o.resource_id as preferred_resource_id, s.resource_id <> o.resource_id as moved,
  coalesce(n.others, 0) + 1 as choices, coalesce(a.duration_s, o.duration_s) as duration_s,
  coalesce(a.duration_s, o.duration_s) - o.duration_s as extra_s, s.setup_s, s.starts_at, s.ends_at
from aps.schedule as s
join aps.operations as o on o.order_id = s.order_id and o.operation_no = s.operation_no
left join aps.alternatives as a on a.order_id = s.order_id and a.operation_no = s.operation_no and a.resource_id = s.resource_id
left join others as n on n.order_id = s.order_id and n.operation_no = s.operation_no
where s.starts_at is not null
