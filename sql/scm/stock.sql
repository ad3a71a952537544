--! description = "Stock of each item, site and lot, and how much of it may be planned with"
--! key = ["item_id", "site_id", "lot_id"]
--! clock = "day"
with holds as (
  select distinct lot_id from qms.lot_holds_wanted
),
positions as (
  select
    s.item_id, s.site_id, coalesce(s.lot_id, '-') as lot_id, s.quantity,
    s.owner is null and l.nettable and s.status in ('available', 'inspection')
      and coalesce(t.quality_status in ('released', 'inspection'), true)
      and coalesce(t.expires_at > now(), true) and h.lot_id is null as nettable
  from wms.stock as s
  join wms.locations as l on l.system = s.system and l.location_id = s.location_id
  left join wms.lots as t on t.system = s.system and t.lot_id = s.lot_id
  left join holds as h on h.lot_id = s.lot_id
)
select
  item_id, site_id, lot_id,
  cast(sum(quantity) as decimal(18,6)) as quantity,
  cast(sum(case when nettable then quantity else 0 end) as decimal(18,6)) as nettable
from positions
group by item_id, site_id, lot_id
