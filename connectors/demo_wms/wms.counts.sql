-- Counted positions.
with a as (
  -- grams become kilograms
  select article, case base_unit when 'g' then 1000 when 'pc' then 1 end as divisor from article
)
select
  split_part(c.count_key, '|', 1) as count_id,
  cast(split_part(c.count_key, '|', 2) as int) as line_no,
  c.article as item_id,
  l.warehouse as site_id,
  c.loc as location_id,
  c.lot_no as lot_id,
  cast(cast(c.book_qty as decimal(18,6)) / a.divisor as decimal(18,6)) as expected,
  cast(cast(c.found_qty as decimal(18,6)) / a.divisor as decimal(18,6)) as counted,
  cast(null as double) as tolerance,
  c.at_utc as at,
  c.count_key as source_id
from count_line as c
join a on a.article = c.article
join location as l on l.loc = c.loc
