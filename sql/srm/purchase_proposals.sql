--! description = "Planned purchases with supplier and quantity: large ones split by agreed share, others to who is furthest below it, otherwise to the best score"
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
bought as (
  select item_id, supplier_id, sum(cast(quantity as double)) as quantity from srm.purchase_lines where ordered_at >= now() - interval '365 days' group by 1, 2
),
offers as (
  select
    p.proposal_id as planned_id, p.item_id, p.quantity as wanted, o.supplier_id, coalesce(o.multiple, 0) as multiple, o.price,
    o.min_quantity, greatest(o.min_quantity, i.lot_min) as part_min, coalesce(o.share, 0) as share, coalesce(c.score, 50) as score,
    -- the best price step that the quantity reaches, otherwise the smallest one
    row_number() over (
      partition by p.proposal_id, o.supplier_id order by o.min_quantity <= p.quantity desc, abs(p.quantity - o.min_quantity), o.valid_from desc
    ) as step
  from planned as p
  join scm.items as i on i.item_id = p.item_id and i.site_id = p.site_id
  join erp.supplier_items as o on o.item_id = p.item_id and o.site_id = p.site_id
  join srm.supplier_scorecards as c on c.supplier_id = o.supplier_id and c.approval_status <> 'blocked'
  left join (select distinct planned_id from kept) as k on k.planned_id = p.proposal_id
  where k.planned_id is null and o.valid_from <= p.due and (o.valid_to is null or o.valid_to >= p.due)
),
shared as (
  select o.*, sum(o.share) over (partition by o.planned_id) as shares, coalesce(b.quantity / a.quantity, 0) as bought_share
  from offers as o
  left join bought as b on b.item_id = o.item_id and b.supplier_id = o.supplier_id
  left join (select item_id, sum(quantity) as quantity from bought group by item_id) as a on a.item_id = o.item_id
  where o.step = 1
),
-- first comes who is furthest below the agreed share of the last 12 months; without shares, who scores best
placed as (
  select
    *, row_number() over (
      partition by planned_id order by case when shares > 0 then share / shares - bought_share end desc, score desc, price, supplier_id
    ) as place
  from shared
),
-- one order is only split where every part is worth an order of its own
splits as (
  select
    planned_id, max(shares) > 0 and bool_and(share = 0 or wanted * share / shares - multiple >= part_min) as splits,
    min(multiple) = max(multiple) as one_multiple, min(case when share > 0 or shares = 0 then place end) as first_place
  from placed
  group by planned_id
),
targets as (
  select
    p.planned_id, p.place, p.supplier_id, p.min_quantity, cast(case when p.multiple > 0 then p.multiple else 1 end as double) as multiple,
    t.splits and t.one_multiple as cumulative,
    cast(p.wanted as double) * case when t.splits then p.share / p.shares else 1 end as quantity,
    cast(p.wanted as double) * case when t.splits then sum(p.share) over (partition by p.planned_id order by p.place) / p.shares else 1 end as until
  from placed as p
  join splits as t on t.planned_id = p.planned_id
  where case when t.splits then p.share > 0 else p.place = t.first_place end
),
-- Up to whole multiples: with one multiple for all, of the running total, so that the parts make the whole. The inner rounding takes away
-- what only binary fractions added.
parts as (
  select
    planned_id, place, supplier_id,
    case
      when cumulative then
        ceil(round(until / multiple, 6)) * multiple
          - coalesce(lag(ceil(round(until / multiple, 6)) * multiple) over (partition by planned_id order by place), 0)
      else ceil(round(greatest(quantity, cast(min_quantity as double)) / multiple, 6)) * multiple
    end as quantity
  from targets
),
combined as (
  select planned_id, proposal_id, supplier_id, quantity from kept
  union all
  select
    t.planned_id, t.planned_id || '/' || cast(t.place + coalesce(u.part, 0) as text), t.supplier_id, cast(t.quantity as decimal(18,6))
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
