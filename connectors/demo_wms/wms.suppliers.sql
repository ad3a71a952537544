-- Vendors; some were entered without the ERP's number.
select
  vendor_code as supplier_id,
  host_number as supplier_number,
  tax_no as tax_id,
  name,
  vendor_code as source_id
from vendor
