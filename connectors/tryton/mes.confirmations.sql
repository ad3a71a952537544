-- A work cycle has a duration but neither instants nor quantities: its day is the production's, and the order's good and scrapped quantity stand at the last cycle of the last step.
with outputs as (
  select
    m.production_output as production,
    sum(case when t.type <> 'lost_found' then m.internal_quantity else 0 end) as good,
    sum(case when t.type = 'lost_found' then m.internal_quantity else 0 end) as scrap
  from stock_move as m
  join stock_location as t on t.id = m.to_location
  where m.production_output is not null and m.state = 'done'
  group by m.production_output
),
ranked as (
  select
    c.*, w.production, w.work_center,
    row_number() over (partition by w.production order by w.sequence desc nulls last, w.id desc, c.id desc) as from_last
  from production_work_cycle as c
  join production_work as w on w.id = c.work
  where c.state = 'done' and regexp_like(c.duration, '^[0-9]+:[0-9]+')
),
steps as (
  select id, row_number() over (partition by production order by sequence nulls last, id) * 10 as operation_no from production_work
),
timed as (
  select
    r.*, arrow_cast(coalesce(p.effective_date, p.effective_start_date), 'Timestamp(Microsecond, Some("UTC"))') as day_start,
    cast(split_part(r.duration, ':', 1) as bigint) * 3600 + cast(split_part(r.duration, ':', 2) as bigint) * 60 as seconds
  from ranked as r
  join production as p on p.id = r.production
)
select
  cast(r.id as text) as confirmation_id,
  cast(r.production as text) as work_order_id,
  cast(s.operation_no as int) as operation_no,
  cast(r.work_center as text) as work_center_id,
  cast(round(case when r.from_last = 1 then coalesce(o.good, 0) else 0 end, 6) as decimal(18,6)) as good,
  cast(round(case when r.from_last = 1 then coalesce(o.scrap, 0) else 0 end, 6) as decimal(18,6)) as scrap,
  cast(0 as decimal(18,6)) as rework,
  cast(null as text) as reason,
  cast(null as bigint) as setup_s,
  r.day_start as started_at,
  to_timestamp_seconds(cast(extract(epoch from r.day_start) as bigint) + r.seconds) as ended_at,
  r.create_date as reported_at,
  cast(null as text) as reverses,
  cast(r.id as text) as source_id,
  cast(r.write_date as text) as source_version,
  coalesce(r.write_date, r.create_date) as changed_at
from timed as r
join steps as s on s.id = r.work
left join outputs as o on o.production = r.production
where r.day_start is not null and r.work_center is not null
