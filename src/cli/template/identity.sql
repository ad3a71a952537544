--! description = "Which item of which system is which: one row for each key that a system uses"
--! key = ["system", "source_key"]
select
  system,
  item_id as source_key,
  item_id as hub_id,
  'the only system' as rule,
  cast(1 as double) as score
from mapped.erp__items
