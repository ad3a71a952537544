--! description = "The ERP's promise of open lines as sales should see it in the CRM"
--! key = ["system", "request_id", "line_no"]
with promises as (
  select order_id, line_no, max(promised) as promised
  from erp.sales_order_lines
  where status = 'confirmed' and promised is not null
  group by order_id, line_no
)
select
  r.system, r.request_id, r.line_no, p.promised,
  'promise of order ' || r.erp_order_id || ' in the ERP' as _reason
from crm.order_requests as r
join promises as p on p.order_id = r.erp_order_id and p.line_no = coalesce(r.erp_line_no, r.line_no)
where r.status = 'won'
