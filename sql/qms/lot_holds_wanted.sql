--! description = "Lots in stock that are suspect themselves or that a suspect lot went into: to be held"
--! key = ["lot_id"]
--! checks = ["quantity > 0"]
-- What was consumed or shipped cannot be held: see qms.recall_scope.
with reached as (
  select
    g.lot_id, g.direction, g.depth, g.path, s.lot_id as seed, s.level, s.reason, s.case_id,
    row_number() over (partition by g.lot_id order by case when s.level = 'confirmed' then 0 else 1 end, g.depth, s.lot_id) as nth
  from qms.genealogy as g
  join qms.suspect_lots as s on s.lot_id = g.seed
  where g.direction in ('self', 'forward')
),
in_stock as (
  select lot_id, sum(quantity) as quantity from wms.stock where lot_id is not null group by lot_id having sum(quantity) > 0
),
lots as (
  select lot_id, item_id from wms.lots group by lot_id, item_id
)
select
  r.lot_id, l.item_id, i.quantity, r.seed, r.direction, r.level, r.case_id,
  case when r.direction = 'self' then r.reason else 'contains lot ' || r.seed || ' (' || r.path || '): ' || r.reason end as reason
from reached as r
join in_stock as i on i.lot_id = r.lot_id
join lots as l on l.lot_id = r.lot_id
where r.nth = 1
