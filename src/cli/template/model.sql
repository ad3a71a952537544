--! description = "What the stock of each item is worth"
--! key = ["item_id"]
--! checks = ["value >= 0"]
select item_id, name, stock, price, stock * price as value
from erp.items
where stock is not null and price is not null
