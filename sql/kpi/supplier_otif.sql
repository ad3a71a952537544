--! description = "Lines of orders to suppliers received in full by the first confirmed date, of all lines due"
--! key = ["day", "supplier_id"]
--! checks = ["denominator >= 0"]
--! [kpi]
--! title = "Supplier OTIF"
--! unit = "%"
--! scale = 100.0
--! better = "higher"
--! target = 92.0
--! source = "domain practice: by first confirmed date"
--! node = "srm"
select
  due as day, supplier_id,
  cast(sum(case when on_time_in_full then 1 else 0 end) as double) as numerator,
  cast(count(*) as double) as denominator
from srm.purchase_lines
where is_due
group by due, supplier_id
