-- One period in which something works (or, as an exception, does not).
create table calendars (
  calendar_id text not null,                        -- of which calendar
  starts_at   timestamp(6) with time zone not null, -- inclusive
  ends_at     timestamp(6) with time zone not null, -- exclusive
  capacity    decimal(18,6) not null,               -- how many run at once: 1 for a single machine; 0 while closed
  kind        text not null,                        -- working, overtime, closed; closed periods cut out of the others
  primary key (calendar_id, starts_at)
);
