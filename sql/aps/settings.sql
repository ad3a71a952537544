--! description = "How the schedule is searched: one row; edit it for this plant"
--! key = ["seed"]
select
  cast(1 as bigint) as seed,
  -- counted, not timed, so that the same inputs give the same schedule
  cast(100000 as bigint) as iterations,
  -- a safety: what is not through by then ends, and the schedule says how many iterations it had
  cast(60 as bigint) as time_limit_s,
  -- an hour of lateness (times the order's weight) is worth moving ten operations by an hour
  '10 tardiness + stability, makespan' as objective
