-- Fills the contract erp.items (sql/erp/items.sql) from this product. A bare table name is one of the connector's streams.
select
  cast(id as text) as item_id,
  name,
  unit as stock_unit,
  cast(stock as decimal(18, 6)) as stock,
  cast(price as decimal(18, 6)) as price
from items
