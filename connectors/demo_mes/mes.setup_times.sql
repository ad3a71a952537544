-- Change-over times, in minutes there.
select
  m.code as work_center_id,
  c.from_family,
  c.to_family,
  cast(round(c.minutes * 60) as bigint) as seconds
from changeover as c
join machine as m on m.id = c.machine_id
