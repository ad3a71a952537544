-- Stock records; whether they may be used is the lot's status.
with a as (
  -- grams become kilograms
  select article, case base_unit when 'g' then 1000 when 'pc' then 1 end as divisor from article
)
select
  s.stock_key as stock_id,
  s.article as item_id,
  s.loc as location_id,
  l.warehouse as site_id,
  s.lot_no as lot_id,
  case coalesce(b.qs, 'F') when 'F' then 'available' when 'Q' then 'inspection' when 'S' then 'hold' when 'X' then 'rejected' end as status,
  cast(null as text) as owner,
  cast(cast(s.qty as decimal(18,6)) / a.divisor as decimal(18,6)) as quantity,
  cast(cast(s.reserved as decimal(18,6)) / a.divisor as decimal(18,6)) as reserved,
  s.changed_utc as as_of,
  s.stock_key as source_id,
  s.changed_utc as changed_at
from stock as s
join a on a.article = s.article
join location as l on l.loc = s.loc
left join lot as b on b.lot_no = s.lot_no
