-- Movements, by their codes.
with a as (
  -- grams become kilograms
  select article, case base_unit when 'g' then 1000 when 'pc' then 1 end as divisor from article
)
select
  cast(m.mv_no as text) as movement_id,
  case m.code
    when 101 then 'receipt'
    when 131 then 'production'
    when 261 then 'issue'
    when 311 then 'transfer'
    when 321 then 'putaway'
    when 601 then 'shipment'
    when 701 then 'adjustment'
  end as kind,
  m.article as item_id,
  m.lot_no as lot_id,
  cast(cast(m.qty as decimal(18,6)) / a.divisor as decimal(18,6)) as quantity,
  m.from_loc as from_location_id,
  m.to_loc as to_location_id,
  m.at_utc as occurred_at,
  m.doc as document,
  cast(null as text) as reverses,
  cast(m.mv_no as text) as source_id
from movement as m
join a on a.article = m.article
