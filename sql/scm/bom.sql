--! description = "Quantity of each component for one unit of an item: the valid bill with the best priority, phantoms passed through"
--! key = ["item_id", "component_id"]
--! clock = "day"
--! checks = ["quantity_per > 0", "item_id <> component_id"]
with bills as (
  select
    *, row_number() over (partition by item_id order by priority, bom_id, revision desc) as nth
  from erp.boms
  where (valid_from is null or valid_from <= current_date) and (valid_to is null or valid_to >= current_date)
),
components as (
  select
    b.item_id, b.phantom, l.item_id as component_id,
    cast(l.quantity as double) / cast(b.base_quantity as double) / (1 - coalesce(l.scrap_ratio, 0)) as quantity_per
  from bills as b
  join erp.bom_lines as l on l.system = b.system and l.bom_id = b.bom_id and l.revision = b.revision
  where b.nth = 1 and l.role = 'component'
    and (l.valid_from is null or l.valid_from <= current_date) and (l.valid_to is null or l.valid_to >= current_date)
),
-- A phantom is never stocked: its components belong to whatever it goes into. Phantoms in phantoms are followed to depth two.
once as (
  select c.item_id, c.phantom, coalesce(p.component_id, c.component_id) as component_id, c.quantity_per * coalesce(p.quantity_per, 1) as quantity_per
  from components as c
  left join components as p on p.item_id = c.component_id and p.phantom
),
twice as (
  select c.item_id, c.phantom, coalesce(p.component_id, c.component_id) as component_id, c.quantity_per * coalesce(p.quantity_per, 1) as quantity_per
  from once as c
  left join components as p on p.item_id = c.component_id and p.phantom
)
select item_id, component_id, cast(sum(quantity_per) as decimal(18,6)) as quantity_per
from twice
where not phantom
group by item_id, component_id
