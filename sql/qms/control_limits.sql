--! description = "Control limits and capability of each characteristic: X-bar and R for subgroups, individuals and moving range otherwise"
--! key = ["characteristic"]
--! clock = "month"
--! checks = ["lower_limit <= upper_limit"]
-- Made from what was measured before this month, so that a drift does not widen its own limits.
-- Formulas and constants: NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.
with constants as (
  select * from (values
    (2, 1.128, 1.880), (3, 1.693, 1.023), (4, 2.059, 0.729), (5, 2.326, 0.577), (6, 2.534, 0.483),
    (7, 2.704, 0.419), (8, 2.847, 0.373), (9, 2.970, 0.337), (10, 3.078, 0.308)
  ) as t (n, d2, a2)
),
baseline as (
  select *
  from qms.control_points
  where at < now() and at >= now() - interval '365 days'
),
summary as (
  select
    characteristic, min(characteristic_id) as characteristic_id, count(*) as points, avg(mean) as center,
    avg(spread) as mean_range, cast(round(avg(size), 0) as bigint) as n, max(size) as largest
  from baseline
  group by characteristic
  having count(*) >= 20
),
sigmas as (
  select
    s.*,
    -- single values: the moving range of two stands in for the range
    s.mean_range / c.d2 as sigma,
    case when s.largest = 1 then 3 * s.mean_range / 1.128 else c.a2 * s.mean_range end as half_width
  from summary as s
  join constants as c on c.n = case when s.largest = 1 then 2 else least(10, greatest(2, s.n)) end
),
specified as (
  select system || ':' || characteristic_id as characteristic, min(name) as name, min(lower) as lower, max(upper) as upper
  from mes.characteristics
  group by 1
)
select
  s.characteristic, s.characteristic_id, p.name, s.points, s.n as subgroup_size, s.center, s.sigma,
  s.center - s.half_width as lower_limit, s.center + s.half_width as upper_limit,
  case when s.sigma > 0 then (p.upper - p.lower) / (6 * s.sigma) end as cp,
  case when s.sigma > 0 then least(p.upper - s.center, s.center - p.lower) / (3 * s.sigma) end as cpk
from sigmas as s
left join specified as p on p.characteristic = s.characteristic
