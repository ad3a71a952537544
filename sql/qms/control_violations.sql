--! description = "Points beyond three sigma, and eight in a row on one side of the centre"
--! key = ["characteristic", "point", "rule"]
--! clock = "day"
with judged as (
  select
    p.*, l.name, l.center, l.lower_limit, l.upper_limit,
    sum(case when p.mean > l.center then 1 else 0 end) over (partition by p.characteristic order by p.at, p.point rows between 7 preceding and current row) as above,
    sum(case when p.mean < l.center then 1 else 0 end) over (partition by p.characteristic order by p.at, p.point rows between 7 preceding and current row) as below
  from qms.control_points as p
  join qms.control_limits as l on l.characteristic = p.characteristic
),
recent as (
  select * from judged where at >= now() - interval '60 days'
)
select
  characteristic, point, 'beyond 3 sigma' as rule, name, mean, center, lower_limit, upper_limit, at, lot_id, work_center_id
from recent
where mean > upper_limit or mean < lower_limit
union all
select
  characteristic, point, '8 on one side', name, mean, center, lower_limit, upper_limit, at, lot_id, work_center_id
from recent
where above = 8 or below = 8
