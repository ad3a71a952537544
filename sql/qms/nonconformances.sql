--! description = "Everything that was not as it should be: failed inspections, values out of specification, complaints"
--! key = ["nonconformance_id"]
with plans as (
  select *, row_number() over (partition by system, characteristic_id order by plan_id) as nth from mes.characteristics
),
inspections as (
  select
    'inspection:' || system || ':' || inspection_id as nonconformance_id, 'inspection' as kind, item_id, lot_id, work_order_id,
    cast(null as text) as customer_id, defect_code, rejected as quantity,
    case when decision = 'rejected' then 'confirmed' else 'suspect' end as level,
    coalesce(decided_at, created_at) as detected_at,
    trigger || ' inspection ' || inspection_id || ': ' || decision || coalesce(', ' || defect_code, '') as description
  from mes.inspections
  where decision in ('rejected', 'conditional')
),
measurements as (
  select
    'measurement:' || m.system || ':' || m.measurement_id as nonconformance_id, 'measurement' as kind, coalesce(m.item_id, c.item_id) as item_id,
    m.lot_id, m.work_order_id, cast(null as text) as customer_id, c.name as defect_code, cast(null as decimal(18,6)) as quantity,
    'suspect' as level, m.at as detected_at,
    c.name || ' ' || cast(m.value as text) || coalesce(' ' || c.unit, '') || ' is outside ' || coalesce(cast(c.lower as text), '') || ' to ' || coalesce(cast(c.upper as text), '') as description
  from mes.measurements as m
  join plans as c on c.system = m.system and c.characteristic_id = m.characteristic_id and c.nth = 1
  where m.value < c.lower or m.value > c.upper
),
complaints as (
  select
    'complaint:' || system || ':' || complaint_id || '/' || cast(line_no as text) as nonconformance_id, 'complaint' as kind, item_id, lot_id,
    cast(null as text) as work_order_id, customer_id, defect_code, quantity,
    case
      when status = 'closed' or severity = 'minor' then 'noted' -- settled, or nothing to hold a lot for
      when status = 'justified' then 'confirmed'
      else 'suspect'
    end as level,
    received_at as detected_at,
    severity || ' complaint ' || complaint_id || ' of ' || customer_id || coalesce(': ' || defect_code, '') as description
  from crm.complaints
  where status <> 'rejected'
)
select * from inspections
union all
select * from measurements
union all
select * from complaints
