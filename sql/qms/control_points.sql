--! description = "Points of the control charts: the mean of each subgroup, or each single value with its moving range"
--! key = ["characteristic", "point"]
with measured as (
  select
    system || ':' || characteristic_id as characteristic, characteristic_id, system,
    coalesce('g:' || subgroup, 'm:' || measurement_id) as point, value, at, lot_id, work_center_id
  from mes.measurements
),
points as (
  select
    characteristic, min(characteristic_id) as characteristic_id, point, count(*) as size, avg(value) as mean,
    max(value) - min(value) as value_range, max(at) as at, min(lot_id) as lot_id, min(work_center_id) as work_center_id
  from measured
  group by characteristic, point
),
moved as (
  select *, abs(mean - lag(mean) over (partition by characteristic order by at, point)) as moving_range from points
)
select
  characteristic, characteristic_id, point, size, mean,
  case when size > 1 then value_range else moving_range end as spread,
  at, lot_id, work_center_id
from moved
