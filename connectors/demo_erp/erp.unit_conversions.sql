-- Other units of a material, against its stock unit.
select
  u."MATNR" as item_id,
  u."MEINH" as from_unit,
  m."MEINS" as to_unit,
  cast(u."UMZ" as decimal(18,6)) as numerator,
  cast(u."UMN" as decimal(18,6)) as denominator,
  u."MATNR" || '/' || u."MEINH" as source_id
from matu as u
join mat as m on m."MATNR" = u."MATNR"
