-- Planned and effective dates stand in the moves from the supplier: the first planned date is what the supplier confirmed first.
with lines as (
  select
    l.*, row_number() over (partition by l.purchase order by l.sequence nulls last, l.id) as line_no
  from purchase_line as l
  where l.type = 'line' and l.product is not null
),
moves as (
  select
    cast(split_part(origin, ',', 2) as int) as line,
    sum(case when state = 'done' then internal_quantity else 0 end) as received,
    min(coalesce(origin_planned_date, planned_date)) as first_confirmed,
    max(planned_date) as confirmed,
    bool_or(state in ('draft', 'assigned')) as waiting
  from stock_move
  where origin like 'purchase.line,%' and state <> 'cancelled'
  group by 1
)
select
  cast(o.id as text) as order_id,
  cast(l.line_no as int) as line_no,
  cast(1 as int) as schedule_no,
  o.number as order_number,
  cast(o.party as text) as supplier_id,
  cast(l.product as text) as item_id,
  cast(o.warehouse as text) as site_id,
  cast(round(l.quantity * u.factor / d.factor, 6) as decimal(18,6)) as quantity,
  cast(round(coalesce(m.received, 0), 6) as decimal(18,6)) as received,
  coalesce(arrow_cast(o.purchase_date, 'Timestamp(Microsecond, Some("UTC"))'), o.create_date) as ordered_at,
  coalesce(l.delivery_date_store, o.delivery_date, m.first_confirmed, o.purchase_date, cast(o.create_date as date)) as requested_date,
  m.first_confirmed,
  m.confirmed,
  cast(round(l.unit_price * d.factor / u.factor, 6) as decimal(18,6)) as price,
  y.code as currency,
  cast(null as text) as external_ref,
  case o.state
    when 'draft' then 'draft' when 'quotation' then 'draft'
    when 'confirmed' then 'ordered'
    when 'processing' then case when not coalesce(m.waiting, true) then 'received' when m.confirmed is null then 'ordered' else 'confirmed' end
    when 'done' then 'closed' when 'cancelled' then 'cancelled'
  end as status,
  cast(l.id as text) as source_id,
  cast(l.write_date as text) as source_version,
  coalesce(l.write_date, l.create_date) as changed_at
from purchase_purchase as o
join lines as l on l.purchase = o.id
join product_product as p on p.id = l.product
join product_template as t on t.id = p.template
join product_uom as u on u.id = l.unit
join product_uom as d on d.id = t.default_uom
join currency_currency as y on y.id = o.currency
left join moves as m on m.line = l.id
where l.quantity > 0
