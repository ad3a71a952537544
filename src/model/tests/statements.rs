//! What statements are refused, and what SQL means to those that are not.

use super::*;

#[test]
fn statements_are_checked_when_the_graph_is_made() {
    let model = |text: &str| refused("sql/scm/doubled.sql", &format!("--! description = \"x\"\n{text}\n"));
    let told_all = [
        model("select 1 as a from erp.itmes"),
        model("select * from raw.erp__parts"),
        model("select * from write.erp__requests"),
        model("select now() as at"),
        model("select * from mrp((select 1))"),
        model("select * from mpr('erp.items')"),
        model("select status from scm.doubled"),
        refused(
            "sql/xref/items.sql",
            "--! description = \"x\"\n--! key = [\"system\", \"source_key\"]\nselect system, item_id as source_key, item_id as hub_id from erp.items\n",
        ),
        refused("connectors/acme/erp.items.sql", "select id as item_id from part"),
        refused("connectors/acme/erp.items.sql", "select id as item_id from erp.items"),
        refused("connectors/acme/erp.items.sql", "select id as item_id, now() as changed_at from parts"),
    ];
    insta::assert_snapshot!(told_all.join("\n"), @r#"
    sql/scm/doubled.sql:2: unknown table erp.itmes
      hint: did you mean erp.items?
    sql/scm/doubled.sql:2: raw.erp__parts: only maps read raw tables
      hint: read the contract that it is mapped to
    sql/scm/doubled.sql:2: write.erp__requests: nothing reads the results of write maps
      hint: read the outbox model
    sql/scm/doubled.sql:2: scm.doubled uses the clock without declaring it
      hint: say how often that changes the rows, at the top of the file: --! clock = "day" (minute, hour, day or month)
    sql/scm/doubled.sql:2: mrp, argument 1: (SELECT 1) is not the name of a table
      hint: mrp takes names of tables as text: mrp('schema.table', …); put a query into a model of its own
    sql/scm/doubled.sql:2: unknown table function mpr
      hint: did you mean mrp?
    sql/scm/doubled.sql:2: these tables need one another: scm.doubled (sql/scm/doubled.sql:2) reads scm.doubled
      hint: break the circle; identity models (xref.*) read mapped.* tables, not contracts
    sql/xref/items.sql:3: these tables need one another: erp.items reads xref.items (sql/xref/items.sql:3) reads erp.items
      hint: break the circle; identity models (xref.*) read mapped.* tables, not contracts
    connectors/acme/erp.items.sql:1: unknown stream part
      hint: did you mean parts? streams are declared in connector.toml
    connectors/acme/erp.items.sql:1: a map reads only its own streams, not erp.items
      hint: a bare name is a stream: from stream_name
    connectors/acme/erp.items.sql:1: a map may not use the clock
      hint: use the clock in a model instead: a map yields what the source says
    "#);
}

async fn planned(path: &str, body: &str) -> String {
    let project = load(&folder(&[(path, body)]));
    let graph = Graph::new(&project).map_err(|errors| panic!("{}", told(&errors))).unwrap();
    let schemas = [
        ("raw.erp__parts", parts(&[]).schema()),
        ("raw.crm__parts", parts(&[]).schema()),
        ("raw.erp__orders", orders(&[]).schema()),
    ];
    let raw = schemas.into_iter().map(|(name, schema)| (table(name), schema)).collect();
    graph.check(&project, &raw).await.map(|()| "no error".to_owned()).unwrap_or_else(|errors| told(&errors))
}

#[tokio::test]
async fn columns_and_types_are_checked_without_rows() {
    let map = "connectors/acme/erp.items.sql";
    let model = "sql/scm/doubled.sql";
    let mut told_all = vec![planned(model, PROJECT[8].1).await];
    for (path, body) in [
        (map, "select id as item_id, name as label, 'x' as status from parts"),
        (map, "select\n  id as item_id, name,\n  1 as status\nfrom parts"),
        (map, "select id as item_id, nmae as name, 'x' as status from parts"),
        (map, "select id as item_id, name, 'x' as status, '2026-01-01' as changed_at from parts"),
        (model, "--! description = \"x\"\nselect\n  sttus\nfrom erp.items"),
        (model, "--! description = \"x\"\nselect count(*) from erp.items"),
        (model, "--! description = \"x\"\nselect status, status from erp.items"),
        (model, "--! description = \"x\"\nselect null as a from erp.items"),
        (model, "--! description = \"x\"\nselect cast('2026-01-01' as timestamp) as a from erp.items"),
        (model, "--! description = \"x\"\n--! key = [\"stats\"]\nselect status from erp.items"),
        (model, "--! description = \"x\"\n--! checks = [\"stats = 'a'\"]\nselect status from erp.items"),
        (model, "--! description = \"x\"\n--! clock = \"day\"\nselect * from mrp('erp.items')"),
        (model, "--! description = \"x\"\nselect * from trace('erp.items')"),
        (model, "--! description = \"x\"\nselect status + 1 as a from erp.items where status = date '2026-01-01'"),
        (
            "connectors/acme/write.requests.sql",
            "select request_id as idd, 1 as quantity from outbox.requests join orders on true",
        ),
    ] {
        told_all.push(format!("{}\n{}", body.replace('\n', " "), planned(path, body).await));
    }
    insta::assert_snapshot!(told_all.join("\n"), @r#"
    no error
    select id as item_id, name as label, 'x' as status from parts
    connectors/acme/erp.items.sql:1: column label is not in contract erp.items (sql/erp/items.sql)
    connectors/acme/erp.items.sql:1: column name of contract erp.items (sql/erp/items.sql:4) is missing
      hint: if the product has no such field: cast(null as text) as name
    select   id as item_id, name,   1 as status from parts
    connectors/acme/erp.items.sql:3: column status is bigint, but contract erp.items says text
      hint: cast it where no value can be lost: cast(status as text)
    select id as item_id, nmae as name, 'x' as status from parts
    connectors/acme/erp.items.sql:1: unknown column nmae
      hint: did you mean name?
    select id as item_id, name, 'x' as status, '2026-01-01' as changed_at from parts
    connectors/acme/erp.items.sql:1: column changed_at is text, but contract erp.items says timestamp with time zone
      hint: cast it: cast(changed_at as timestamp(6) with time zone)
    --! description = "x" select   sttus from erp.items
    sql/scm/doubled.sql:3: unknown column sttus
      hint: did you mean status?
    --! description = "x" select count(*) from erp.items
    sql/scm/doubled.sql:2: column 1 has no name: count(*)
      hint: name it: … as name
    --! description = "x" select status, status from erp.items
    sql/scm/doubled.sql:2: two columns are called status
      hint: name one of them otherwise: … as name
    --! description = "x" select null as a from erp.items
    sql/scm/doubled.sql:2: column a is null, which no table holds
      hint: give it a type: cast(null as text)
    --! description = "x" select cast('2026-01-01' as timestamp) as a from erp.items
    sql/scm/doubled.sql:2: column a is timestamp without time zone, which no table holds
      hint: an instant needs a zone: … at time zone 'UTC' (or its own), or cast it to a date
    --! description = "x" --! key = ["stats"] select status from erp.items
    sql/scm/doubled.sql:2: the header's key names stats, which the statement does not yield
      hint: did you mean status?
    --! description = "x" --! checks = ["stats = 'a'"] select status from erp.items
    sql/scm/doubled.sql:2: check "stats = 'a'": unknown column stats
      hint: did you mean status?
    --! description = "x" --! clock = "day" select * from mrp('erp.items')
    sql/scm/doubled.sql:3: mrp, tables: 5 are needed, 1 named
      hint: mrp('demand', 'supply', 'items', 'bom', 'proposals')
    --! description = "x" select * from trace('erp.items')
    sql/scm/doubled.sql:2: trace, tables: 2 are needed, 1 named
      hint: trace('links', 'seeds')
    --! description = "x" select status + 1 as a from erp.items where status = date '2026-01-01'
    sql/scm/doubled.sql:2: text + bigint cannot be computed
      hint: cast a side; texts are joined with ||
    select request_id as idd, 1 as quantity from outbox.requests join orders on true
    connectors/acme/write.requests.sql:1: key in connector.toml names id, which the statement does not yield
      hint: did you mean idd?
    connectors/acme/write.requests.sql:1: stream orders has no column idd
      hint: did you mean id?
    connectors/acme/write.requests.sql:1: stream orders has no column quantity
    "#);
}

/// What one expression yields, with its type.
async fn value(expression: &str) -> String {
    let body = format!(
        "--! description = \"x\"\n--! clock = \"day\"\nselect {expression} as v from (select date '2026-03-29' as d, timestamp '2026-03-29T01:30:00' as t, cast(7 as decimal(18,6)) as q, cast(0.1 as decimal(18,6)) as p, cast('2026-03-28T23:30:00Z' as timestamp(6) with time zone) as z, 3 as i) s"
    );
    let project = load(&folder(&[("sql/scm/doubled.sql", &body)]));
    let graph = Graph::new(&project).map_err(|errors| panic!("{}", told(&errors))).unwrap();
    let as_of = "2026-03-04T05:06:07Z".parse().unwrap();
    match evaluate(&project, &graph, &table("scm.doubled"), &BTreeMap::new(), as_of).await {
        Ok(batch) => format!("{expression} = {} {}", lines(&batch).join(";"), batch.schema().field(0).data_type()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})")).unwrap_or_default();
            format!("{expression}: {}{cause}", told(&[error]).lines().next().unwrap())
        }
    }
}

#[tokio::test]
async fn sql_means_what_models_rely_on() {
    let mut told_all = vec![];
    for expression in [
        "t at time zone 'Europe/Berlin'",
        "(cast('2026-07-01T12:00:00' as timestamp)) at time zone 'America/New_York'",
        "z at time zone 'Europe/Berlin'",
        "cast(z at time zone 'Europe/Berlin' as date)",
        "cast(z as date)",
        "date_trunc('day', z)",
        "date_trunc('day', z at time zone 'Europe/Berlin')",
        "cast(d as timestamp(6) with time zone)",
        "cast(t as timestamp(6) with time zone)",
        "now()",
        "now() - interval '30 days'",
        "current_date + 7",
        "current_date - interval '1 month'",
        "current_date + interval '1 day' * i",
        "current_date - d",
        "d - interval '1 day'",
        "date_part('day', now() - z)",
        "extract(epoch from now() - z)",
        "extract(epoch from (now() - z)) / 86400",
        "extract(isodow from d)",
        "extract(week from d)",
        "to_char(d, '%G-W%V')",
        "date_bin(interval '7 days', z)",
        "q * p",
        "q / 3",
        "q / p",
        "q * 1.5",
        "q * 0.1",
        "cast(q * 0.1 as decimal(18,6))",
        "q + i",
        "sum(q)",
        "avg(q)",
        "sum(i)",
        "count(*)",
        "7 / 2",
        "7 / 2.0",
        "cast(7 as double) / 0",
        "7 / 0",
        "q / 0",
        "i / nullif(0, 0)",
        "round(q / 3, 2)",
        "ceil(q / 3)",
        "floor(q)",
        "greatest(q, 8)",
        "coalesce(null, q)",
        "cast('12.3456789' as decimal(18,6))",
        "cast('abc' as decimal(18,6))",
        "cast('1e3' as decimal(18,6))",
        "cast('99999999999999' as decimal(18,6))",
        "cast('2026-02-30' as date)",
        "cast('20260203' as date)",
        "cast(1e20 as bigint)",
        "to_timestamp(1767225600)",
        "to_timestamp_micros(1767225600000000)",
        "arrow_cast(to_timestamp(1767225600), 'Timestamp(Microsecond, Some(\"UTC\"))')",
        "lpad(cast(i as text), 5, '0')",
        "split_part('a-b', '-', 2)",
        "regexp_replace('A-01', '[^0-9]', '')",
        "'a' || null",
        "concat('a', null, 'b')",
        "string_agg('a', ',')",
        "stddev(q)",
        "approx_percentile_cont(q, 0.9)",
        "row_number() over (order by i)",
        "sum(q) over (order by d rows between unbounded preceding and current row)",
        "lag(q) over (order by d)",
        "case i when 1 then 'a' end",
        "i in (1, 2, null)",
        "'ABC' ilike 'a%'",
        "md5('a')",
        "i is distinct from null",
        "bool_and(i = 3)",
        "array_agg(i)",
        "power(2, 10)",
        "abs(cast(-1.5 as double))",
        "mod(7, 4)",
        "7 % 4",
    ] {
        told_all.push(value(expression).await);
    }
    insta::assert_snapshot!(told_all.join("\n"), @r#"
    t at time zone 'Europe/Berlin' = 2026-03-29T00:30:00Z Timestamp(µs, "UTC")
    (cast('2026-07-01T12:00:00' as timestamp)) at time zone 'America/New_York' = 2026-07-01T16:00:00Z Timestamp(µs, "UTC")
    z at time zone 'Europe/Berlin' = 2026-03-28T23:30:00Z Timestamp(µs, "UTC")
    cast(z at time zone 'Europe/Berlin' as date) = 2026-03-29 Date32
    cast(z as date) = 2026-03-28 Date32
    date_trunc('day', z) = 2026-03-28T00:00:00Z Timestamp(µs, "UTC")
    date_trunc('day', z at time zone 'Europe/Berlin') = 2026-03-28T23:00:00Z Timestamp(µs, "UTC")
    cast(d as timestamp(6) with time zone) = 2026-03-29T00:00:00Z Timestamp(µs, "UTC")
    cast(t as timestamp(6) with time zone) = 2026-03-29T01:30:00Z Timestamp(µs, "UTC")
    now() = 2026-03-04T00:00:00Z Timestamp(µs, "UTC")
    now() - interval '30 days' = 2026-02-02T00:00:00Z Timestamp(µs, "UTC")
    current_date + 7 = 2026-03-11 Date32
    current_date - interval '1 month' = 2026-02-04 Date32
    current_date + interval '1 day' * i: sql/scm/doubled.sql:3: interval * bigint cannot be computed
    current_date - d = -25 Int64
    d - interval '1 day' = 2026-03-28 Date32
    date_part('day', now() - z) = -24 Int32
    extract(epoch from now() - z) = -2158200.0 Float64
    extract(epoch from (now() - z)) / 86400 = -24.979166666666668 Float64
    extract(isodow from d) = 7 Int32
    extract(week from d) = 13 Int32
    to_char(d, '%G-W%V') = 2026-W13 Utf8
    date_bin(interval '7 days', z) = 2026-03-26T00:00:00Z Timestamp(µs, "UTC")
    q * p = 0.700000000000 Decimal128(37, 12)
    q / 3 = 2.3333333333 Decimal128(22, 10)
    q / p = 70.0000000000 Decimal128(28, 10)
    q * 1.5 = 10.5 Float64
    q * 0.1 = 0.7000000000000001 Float64
    cast(q * 0.1 as decimal(18,6)) = 0.700000 Decimal128(18, 6)
    q + i = 10.000000 Decimal128(27, 6)
    sum(q) = 7.000000 Decimal128(28, 6)
    avg(q) = 7.0000000000 Decimal128(22, 10)
    sum(i) = 3 Int64
    count(*) = 1 Int64
    7 / 2 = 3 Int64
    7 / 2.0 = 3.5 Float64
    cast(7 as double) / 0 = inf Float64
    7 / 0: sql/scm/doubled.sql: scm.doubled failed while it ran (Arrow error: Divide by zero error)
    q / 0: sql/scm/doubled.sql: scm.doubled failed while it ran (Arrow error: Divide by zero error)
    i / nullif(0, 0) =  Int64
    round(q / 3, 2) = 2.33 Decimal128(22, 2)
    ceil(q / 3) = 3.0000000000 Decimal128(22, 10)
    floor(q) = 7.000000 Decimal128(18, 6)
    greatest(q, 8) = 8.000000 Decimal128(26, 6)
    coalesce(null, q) = 7.000000 Decimal128(18, 6)
    cast('12.3456789' as decimal(18,6)) = 12.345679 Decimal128(18, 6)
    cast('abc' as decimal(18,6)): sql/scm/doubled.sql:3: 'abc' is no decimal(38,10)
    cast('1e3' as decimal(18,6)): sql/scm/doubled.sql:3: '1e3' is no decimal(38,10)
    cast('99999999999999' as decimal(18,6)): sql/scm/doubled.sql:3: 99999999999999.000000 is too large to store in a Decimal128 of precision 18. Max is 999999999999.999999
    cast('2026-02-30' as date): sql/scm/doubled.sql:3: '2026-02-30' is no date
    cast('20260203' as date) = 2026-02-03 Date32
    cast(1e20 as bigint): sql/scm/doubled.sql:3: '1e20' is no bigint
    to_timestamp(1767225600) = 2026-01-01T00:00:00Z Timestamp(µs, "UTC")
    to_timestamp_micros(1767225600000000) = 2026-01-01T00:00:00Z Timestamp(µs, "UTC")
    arrow_cast(to_timestamp(1767225600), 'Timestamp(Microsecond, Some("UTC"))') = 2026-01-01T00:00:00Z Timestamp(µs, "UTC")
    lpad(cast(i as text), 5, '0') = 00003 Utf8
    split_part('a-b', '-', 2) = b Utf8
    regexp_replace('A-01', '[^0-9]', '') = -01 Utf8
    'a' || null =  Utf8
    concat('a', null, 'b') = ab Utf8
    string_agg('a', ',') = a Utf8
    stddev(q) =  Float64
    approx_percentile_cont(q, 0.9) = 7.0 Float64
    row_number() over (order by i) = 1 Int64
    sum(q) over (order by d rows between unbounded preceding and current row) = 7.000000 Decimal128(28, 6)
    lag(q) over (order by d) =  Decimal128(18, 6)
    case i when 1 then 'a' end =  Utf8
    i in (1, 2, null) =  Boolean
    'ABC' ilike 'a%' = true Boolean
    md5('a'): sql/scm/doubled.sql:3: unknown function md5
    i is distinct from null = true Boolean
    bool_and(i = 3) = true Boolean
    array_agg(i): sql/scm/doubled.sql:3: column v is a list of bigint, which no table holds
    power(2, 10) = 1024.0 Float64
    abs(cast(-1.5 as double)) = 1.5 Float64
    mod(7, 4): sql/scm/doubled.sql:3: unknown function mod
    7 % 4 = 3 Int64
    "#);
}
