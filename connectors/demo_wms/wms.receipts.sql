-- Goods receipts from suppliers, and movements from production into stock.
with a as (
  -- grams become kilograms
  select article, case base_unit when 'g' then 1000 when 'pc' then 1 end as divisor from article
)
select
  split_part(r.receipt_key, '|', 1) as receipt_id,
  cast(split_part(r.receipt_key, '|', 2) as int) as line_no,
  'purchase' as kind,
  r.po_no as order_id,
  cast(r.po_pos as int) as order_line_no,
  cast(null as text) as work_order_id,
  r.vendor_code as supplier_id,
  r.article as item_id,
  r.warehouse as site_id,
  r.lot_no as lot_id,
  r.vendor_lot as supplier_lot,
  cast(cast(r.qty as decimal(18,6)) / a.divisor as decimal(18,6)) as quantity,
  -- the lot's status tells what inspection thought of it
  case coalesce(b.qs, 'F') when 'Q' then cast(null as decimal(18,6)) when 'X' then cast(0 as decimal(18,6)) else cast(cast(r.qty as decimal(18,6)) / a.divisor as decimal(18,6)) end as accepted,
  r.received_utc as received_at,
  r.receipt_key as source_id
from receipt as r
join a on a.article = r.article
left join lot as b on b.lot_no = r.lot_no
union all
select
  'MV' || cast(m.mv_no as text), cast(1 as int), 'production', cast(null as text), cast(null as int), m.doc, cast(null as text), m.article, l.warehouse, m.lot_no,
  cast(null as text), cast(cast(m.qty as decimal(18,6)) / a.divisor as decimal(18,6)), cast(null as decimal(18,6)), m.at_utc, cast(m.mv_no as text)
from movement as m
join a on a.article = m.article
join location as l on l.loc = m.to_loc
where m.code = 131
