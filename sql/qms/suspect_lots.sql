--! description = "Lots that are bad, or may be, by what was found on themselves"
--! key = ["lot_id"]
--! clock = "day"
--! checks = ["level in ('suspect', 'confirmed')"]
with found as (
  select * from qms.nonconformances
  where lot_id is not null and level in ('suspect', 'confirmed') and detected_at >= now() - interval '180 days'
),
cases as (
  select
    lot_id, max(opened_at) as opened_at, max(case_id) as case_id,
    -- people have looked at the lot and let it go, or took it away
    bool_and(status in ('closed', 'cancelled')) as all_closed, max(closed_at) as closed_at
  from mes.quality_cases
  where lot_id is not null
  group by lot_id
)
select
  f.lot_id, min(f.item_id) as item_id,
  case when bool_or(f.level = 'confirmed') then 'confirmed' else 'suspect' end as level,
  min(f.detected_at) as since, count(*) as findings,
  coalesce(min(c.case_id), 'lot:' || f.lot_id) as case_id,
  first_value(f.description order by case when f.level = 'confirmed' then 0 else 1 end, f.detected_at, f.nonconformance_id) as reason
from found as f
left join cases as c on c.lot_id = f.lot_id
where c.lot_id is null or not c.all_closed or f.detected_at > c.closed_at
group by f.lot_id
