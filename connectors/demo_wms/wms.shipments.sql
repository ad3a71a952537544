-- Lines of delivery notes.
with a as (
  -- grams become kilograms
  select article, case base_unit when 'g' then 1000 when 'pc' then 1 end as divisor from article
)
select
  split_part(s.note_key, '|', 1) as shipment_id,
  cast(split_part(s.note_key, '|', 2) as int) as line_no,
  s.order_no as order_id,
  cast(s.order_pos as int) as order_line_no,
  cast(null as text) as customer_id,
  s.article as item_id,
  s.warehouse as site_id,
  s.lot_no as lot_id,
  cast(cast(s.qty as decimal(18,6)) / a.divisor as decimal(18,6)) as quantity,
  s.shipped_utc as shipped_at,
  s.delivered_utc as delivered_at,
  s.note_key as source_id
from shipment as s
join a on a.article = s.article
