-- What sales expects to sell in one bucket of time.
create table demand_forecasts (
  item_id      text not null references xref.items, -- what
  site_id      text not null references xref.sites, -- which site would deliver
  customer_id  text references xref.customers,      -- to whom; null: anyone
  bucket_start date not null,                       -- first day of the bucket
  bucket_days  int not null,                        -- its length
  version      text not null,                       -- name of the forecast; the models read the highest one
  quantity     decimal(18,6) not null,              -- in the item's stock unit, for the whole bucket
  forecast_id  text not null,                       -- the source's own key of the row
  primary key (forecast_id)
);
