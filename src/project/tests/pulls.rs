//! What streams and systems say about how they are pulled.

use super::*;

/// What is said when the stream of items has these lines more.
fn items_with(lines: &str) -> String {
    connector("exclude = [\"photo\"]", &format!("exclude = [\"photo\"]\n{lines}"))
}

/// What is said when the stream of requests, which has a cursor and no sweep, is this instead.
fn requests_with(lines: &str) -> String {
    connector("key = [\"ref\"]\ncursor = { field = \"row_version\", kind = \"integer\" }", &format!("key = [\"ref\"]\n{lines}"))
}

fn erp_with(lines: &str) -> String {
    settings("max_age = \"2h\"", &format!("max_age = \"2h\"\n{lines}"))
}

#[test]
fn settings_of_pulls_are_read_as_they_are_written() {
    let root = valid();
    write(
        root.path(),
        "connectors/acme_erp/connector.toml",
        r#"protocol = "sql"
[stream.items]
key = ["id"]
cursor = { field = "updated" }
sweep = "weekly"
version = "row_version"
contract = { new_columns = "discard_value", gone_columns = "evolve", values = "discard_row" }
types = { weight = "double", price = "decimal( 20, 4 )", note = "text" }
deletion_vectors = true

[stream.requests]
key = ["ref"]
contract = "discard_row"

[stream.bookings]
key = ["id"]
mode = "append"
cursor = { field = "id", kind = "integer" }
contract = "evolve"

[write.purchase_requests]
resource = "requests"
key = ["ref"]
operations = ["update"]
"#,
    );
    let toml = VALID[0].1.replace(
        "max_age",
        "load = { connections = 4, statement_timeout = \"10m\", hours = \"20-6\", retries = 0, time_limit = \"2h\" }\nmax_age",
    );
    write(root.path(), "loopline.toml", format!("{toml}\n[retention]\nruns = \"14d\"\n"));
    let project = Project::load(root.path()).unwrap_or_else(|_| panic!("{}", messages(root.path())));

    let streams = &project.systems["erp"].connector.streams;
    let items = &streams["items"];
    let contract = StreamContract {
        new_columns: Policy::DiscardValue,
        gone_columns: Policy::Evolve,
        values: Policy::DiscardRow,
        ..StreamContract::default()
    };
    assert_eq!((items.mode, items.contract), (PullMode::Incremental, contract));
    assert_eq!((items.version.as_deref(), items.deletion_vectors), (Some("row_version"), true));
    assert_eq!(items.sweep_every, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(items.types["weight"], ColumnType::Double);
    assert_eq!(items.types["price"], ColumnType::Decimal { precision: 20, scale: 4 });
    let requests = &streams["requests"];
    let all = |policy| StreamContract {
        new_columns: policy,
        gone_columns: policy,
        widened_types: policy,
        changed_types: policy,
        values: policy,
    };
    assert_eq!((requests.mode, requests.contract), (PullMode::Full, all(Policy::DiscardRow)));
    let bookings = &streams["bookings"];
    assert_eq!(bookings.contract, StreamContract { values: Policy::Freeze, ..all(Policy::Evolve) });
    assert_eq!((bookings.mode, bookings.deletion_vectors), (PullMode::Append, false));

    let load = Load {
        connections: 4,
        statement_timeout: Some(Duration::from_secs(600)),
        hours: Some((20, 6)),
        retries: 0,
        time_limit: Duration::from_secs(7_200),
    };
    assert_eq!(project.systems["erp"].load, load);
    assert_eq!(project.retention, Retention { runs: Duration::from_secs(14 * 86_400), ..Retention::default() });
}

#[test]
fn stream_messages() {
    assert_snapshot!(items_with("mode = \"increment\""), @r#"
    connectors/acme_erp/connector.toml:10: stream "items": mode: "increment" is not one of full, incremental, append
    hint: did you mean "incremental"?
    "#);
    assert_snapshot!(items_with("mode = \"full\""), @r#"
    connectors/acme_erp/connector.toml:7: stream "items": "cursor" has no effect with mode = "full"
    hint: remove `cursor`, or `mode`: a stream with a cursor is incremental
    "#);
    assert_snapshot!(requests_with("mode = \"append\""), @r#"
    connectors/acme_erp/connector.toml:13: stream "requests": mode = "append" needs a cursor
    hint: add cursor = { field = "updated_at" }, or remove `mode`: without a cursor every pull reads the whole table
    "#);
    assert_snapshot!(requests_with("mode = \"incremental\""), @r#"
    connectors/acme_erp/connector.toml:13: stream "requests": mode = "incremental" needs a cursor
    hint: add cursor = { field = "updated_at" }, or remove `mode`: without a cursor every pull reads the whole table
    "#);
    assert_snapshot!(items_with("version = \"photo\""), @r#"
    connectors/acme_erp/connector.toml:9: stream "items": column "photo" is the version and cannot be excluded
    hint: remove it from `exclude`
    "#);
    assert_snapshot!(items_with("types = { photo = \"text\" }"), @r#"
    connectors/acme_erp/connector.toml:9: stream "items": column "photo" has a type of its own in `types` and cannot be excluded
    hint: remove it from `exclude`
    "#);
    assert_snapshot!(items_with("types = { weight = \"float\", size = \"decimal(40,2)\", day = \"dates\" }"), @r#"
    connectors/acme_erp/connector.toml:10: stream "items": types, day: "dates" is not a type (text, integer, long, double, decimal(18,6), boolean, date, timestamp); did you mean "date"?
    connectors/acme_erp/connector.toml:10: stream "items": types, size: "decimal(40,2)" is not a decimal type (at most 38 digits, and how many of them stand after the point: decimal(18,6))
    connectors/acme_erp/connector.toml:10: stream "items": types, weight: "float" is not a type (text, integer, long, double, decimal(18,6), boolean, date, timestamp)
    "#);
    assert_snapshot!(items_with("types = \"text\""), @r#"connectors/acme_erp/connector.toml:10: stream "items": "types" must be a table, not text"#);
    assert_snapshot!(items_with("contract = \"frozen\""), @r#"connectors/acme_erp/connector.toml:10: stream "items": contract: "frozen" is not one of evolve, freeze, discard_row, discard_value"#);
    assert_snapshot!(items_with("contract = { new_column = \"freeze\", values = \"evolve\", gone_columns = \"discard\" }"), @r#"
    connectors/acme_erp/connector.toml:10: stream "items", contract: gone_columns: "discard" is not one of evolve, freeze, discard_row, discard_value
    hint: did you mean "discard_row"?
    connectors/acme_erp/connector.toml:10: stream "items", contract: values: a column cannot evolve for a value that its type does not hold
    hint: write "freeze", "discard_row" or "discard_value", or choose a type that holds it: types = { column = "text" }
    connectors/acme_erp/connector.toml:10: stream "items", contract: unknown key "new_column"
    hint: did you mean "new_columns"?
    "#);
    assert_snapshot!(items_with("contract = true"), @r#"connectors/acme_erp/connector.toml:10: stream "items": "contract" must be a table, not true or false"#);
    assert_snapshot!(items_with("deletion_vectors = \"yes\""), @r#"connectors/acme_erp/connector.toml:10: stream "items": "deletion_vectors" must be true or false, not text"#);
    assert_snapshot!(connector("sweep = \"1d\"", "sweep = \"monthly\""), @r#"connectors/acme_erp/connector.toml:8: stream "items": sweep: "monthly" is not hourly, daily, weekly or a duration like 12h"#);
}

#[test]
fn load_and_retention_messages() {
    assert_snapshot!(erp_with("load = { connections = 0, statement_timeout = \"long\", retry = 3 }"), @r#"
    loopline.toml:13: system "erp", load: "connections" must be 1 to 16, not 0
    loopline.toml:13: system "erp", load: statement_timeout: "long" is not a duration (a whole number and s, m, h or d: 30s, 5m, 2h, 1d)
    loopline.toml:13: system "erp", load: unknown key "retry"
    hint: did you mean "retries"?
    "#);
    assert_snapshot!(erp_with("load = { hours = \"20\", retries = 100, time_limit = \"0s\" }"), @r#"
    loopline.toml:13: system "erp", load: "retries" must be 0 to 20, not 100
    loopline.toml:13: system "erp", load: hours: "20" does not name two hours of the day (from and to, as in 20-6)
    loopline.toml:13: system "erp", load: time_limit: "0s" is no time at all
    "#);
    assert_snapshot!(erp_with("load = { hours = \"6-25\" }"), @r#"loopline.toml:13: system "erp", load: hours: "6-25" does not name two hours of the day (from and to, as in 20-6)"#);
    assert_snapshot!(settings("[authority]", "[retention]\nruns = \"30d\"\nsent = \"7d\"\nplans = \"1d\"\n\n[authority]"), @r#"
    loopline.toml:7: retention: what is behind a sent change would be kept for a shorter time than other runs
    hint: make `sent` at least as long as `runs`, or remove it
    loopline.toml:8: retention: unknown key "plans"
    hint: known keys: runs, sent
    "#);
}
