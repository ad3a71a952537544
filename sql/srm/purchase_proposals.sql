--! description = "Planned purchases with supplier, price and quantity: split by agreed share, otherwise to the best score"
--! key = ["proposal_id"]
--! clock = "day"
--! checks = ["quantity > 0"]
with planned as (
  select * from scm.planned_orders where make_buy = 'buy' and action <> 'error'
),
open_requests as (
  select external_ref, regexp_replace(external_ref, '/[0-9]+$', '') as planned_id, supplier_id, quantity
  from erp.purchase_requests
  where status = 'proposed' and external_ref is not null
),
-- Requests that a buyer acted on keep their ids; a new need of the same day gets the next one. What was rejected stays rejected.
used as (
  select regexp_replace(external_ref, '/[0-9]+$', '') as planned_id, max(cast(split_part(external_ref, '/', -1) as int)) as part
  from erp.purchase_requests
  where status in ('approved', 'ordered') and regexp_like(external_ref, '/[0-9]+$')
  group by 1
),
-- A proposal whose quantity still fits keeps its parts and suppliers; only its date may move.
kept as (
  select p.proposal_id as planned_id, o.external_ref as proposal_id, o.supplier_id, o.quantity
  from planned as p
  join open_requests as o on o.planned_id = p.proposal_id
  where p.quantity = p.previous_quantity
),
offers as (
  select
    p.proposal_id as planned_id, p.quantity as wanted, o.supplier_id, o.min_quantity, coalesce(o.multiple, 0) as multiple, o.price,
    coalesce(o.share, 0) as share, coalesce(c.score, 50) as score,
    -- the best price step that the quantity reaches, otherwise the smallest one
    row_number() over (
      partition by p.proposal_id, o.supplier_id order by o.min_quantity <= p.quantity desc, abs(p.quantity - o.min_quantity), o.valid_from desc
    ) as step
  from planned as p
  join erp.supplier_items as o on o.item_id = p.item_id and o.site_id = p.site_id
  join srm.supplier_scorecards as c on c.supplier_id = o.supplier_id and c.approval_status <> 'blocked'
  left join (select distinct planned_id from kept) as k on k.planned_id = p.proposal_id
  where k.planned_id is null and o.valid_from <= p.due and (o.valid_to is null or o.valid_to >= p.due)
),
shared as (
  select
    *, sum(share) over (partition by planned_id) as shares,
    row_number() over (partition by planned_id order by share desc, score desc, price, supplier_id) as place
  from offers
  where step = 1
),
-- a split is only made where every part reaches its supplier's least quantity
splits as (
  select planned_id, bool_and(share = 0 or wanted * share / shares >= min_quantity) and max(shares) > 0 as splits from shared group by planned_id
),
parts as (
  select
    s.planned_id, s.place, s.supplier_id, s.multiple,
    greatest(cast(s.min_quantity as double), cast(s.wanted as double) * case when t.splits then s.share / s.shares else 1 end) as quantity
  from shared as s
  join splits as t on t.planned_id = s.planned_id
  where case when t.splits then s.share > 0 else s.place = 1 end
),
combined as (
  select planned_id, proposal_id, supplier_id, quantity from kept
  union all
  select
    t.planned_id, t.planned_id || '/' || cast(t.place + coalesce(u.part, 0) as text), t.supplier_id,
    -- up to a whole multiple; the first rounding takes away what only binary fractions added
    cast(case when t.multiple > 0 then ceil(round(t.quantity / cast(t.multiple as double), 6)) * cast(t.multiple as double) else ceil(round(t.quantity, 6)) end as decimal(18,6))
  from parts as t
  left join used as u on u.planned_id = t.planned_id
  union all
  -- nobody offers it
  select p.proposal_id as planned_id, p.proposal_id || '/1' as proposal_id, cast(null as text) as supplier_id, p.quantity
  from planned as p
  left join (select planned_id from kept union select planned_id from parts) as k on k.planned_id = p.proposal_id
  where k.planned_id is null
)
select
  c.proposal_id, c.planned_id, p.item_id, p.site_id, c.supplier_id, s.name as supplier_name, s.approval_status,
  c.quantity, p.start as order_date, p.due as needed_date, p.needed as required_date, p.late_days, p.peg, p.reason
from combined as c
join planned as p on p.proposal_id = c.planned_id
left join srm.supplier_scorecards as s on s.supplier_id = c.supplier_id
