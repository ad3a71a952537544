--! description = "Keys that no rule could match with the ERP's (for lots: with the warehouse's)"
--! key = ["entity", "system", "source_key"]
with unmatched as (
  select 'customers' as entity, system, source_key from xref.customers where rule = 'unmatched'
  union all
  select 'items', system, source_key from xref.items where rule = 'unmatched'
  union all
  select 'suppliers', system, source_key from xref.suppliers where rule = 'unmatched'
  union all
  select 'sites', system, source_key from xref.sites where rule = 'unmatched'
  union all
  select 'work_centers', system, source_key from xref.work_centers where rule = 'unmatched'
  union all
  select 'sales_orders', system, source_key from xref.sales_orders where rule = 'unmatched'
  union all
  select 'purchase_orders', system, source_key from xref.purchase_orders where rule = 'unmatched'
  union all
  select 'work_orders', system, source_key from xref.work_orders where rule = 'unmatched'
  union all
  select 'lots', system, source_key from xref.lots where rule = 'unmatched'
),
-- since when, where the source says it
ages as (
  select 'customers' as entity, system, customer_id as source_key, changed_at from mapped.crm__customers
  union all
  select 'sales_orders', system, erp_order_id, coalesce(won_at, created_at) from mapped.crm__order_requests
  union all
  select 'sales_orders', system, order_id, shipped_at from mapped.wms__shipments
  union all
  select 'purchase_orders', system, order_id, received_at from mapped.wms__receipts
  union all
  select 'work_orders', system, work_order_id, started_at from mapped.mes__work_orders
  union all
  select 'lots', system, lot_id, at from mapped.mes__lot_transformations
)
select u.entity, u.system, u.source_key, min(a.changed_at) as since
from unmatched as u
left join ages as a on a.entity = u.entity and a.system = u.system and a.source_key = u.source_key
group by u.entity, u.system, u.source_key
