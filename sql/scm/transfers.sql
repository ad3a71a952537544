--! description = "What sites that do not make or buy an item themselves need from the site that does"
--! key = ["transfer_id"]
--! clock = "day"
--! checks = ["quantity > 0", "from_site_id <> to_site_id"]
with sources as (
  -- of several sites that make or buy the item, the first
  select item_id, min(site_id) as site_id from scm.items group by item_id
),
supplied as (
  select
    p.item_id, p.site_id, s.site_id as from_site_id, max(p.lead_time_days) as lead_time_days,
    cast(max(coalesce(p.safety_stock, t.safety_stock, 0)) as double) as safety_stock,
    greatest(1, cast(max(coalesce(p.lot_multiple, 1)) as double)) as pack
  from erp.item_sites as p
  join sources as s on s.item_id = p.item_id
  left join scm.safety_stock as t on t.item_id = p.item_id and t.site_id = p.site_id
  where p.make_buy_transfer = 'transfer' and p.planning_method = 'mrp'
  group by p.item_id, p.site_id, s.site_id
),
supply as (
  select item_id, site_id, cast(sum(quantity) as double) as quantity from scm.supply group by item_id, site_id
),
needs as (
  select
    d.item_id, d.site_id, d.due, sum(cast(d.quantity as double)) as quantity
  from scm.independent_demand as d
  group by d.item_id, d.site_id, d.due
  union all
  -- so that safety stock is filled even where nothing is ordered
  select item_id, site_id, current_date, 0 from supplied
),
daily as (
  select item_id, site_id, greatest(due, current_date) as due, sum(quantity) as quantity from needs group by 1, 2, 3
),
running as (
  select
    s.item_id, s.site_id, s.from_site_id, s.lead_time_days, s.pack, d.due,
    greatest(0, sum(d.quantity) over (partition by d.item_id, d.site_id order by d.due) + s.safety_stock - coalesce(u.quantity, 0)) as short_until
  from supplied as s
  join daily as d on d.item_id = s.item_id and d.site_id = s.site_id
  left join supply as u on u.item_id = s.item_id and u.site_id = s.site_id
),
-- whole packs, counted from the start so that rounding does not add up
packed as (
  select *, ceil(round(short_until / pack, 6)) * pack as sent_until from running
),
steps as (
  select *, sent_until - coalesce(lag(sent_until) over (partition by item_id, site_id order by due), 0) as quantity from packed
)
select
  'tr:' || item_id || '/' || site_id || '/' || cast(due as text) as transfer_id, item_id, from_site_id, site_id as to_site_id,
  greatest(current_date, due - lead_time_days) as ship_on,
  greatest(due, current_date + lead_time_days) as due,
  cast(quantity as decimal(18,6)) as quantity
from steps
where quantity > 0.000001
