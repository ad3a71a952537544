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
    assert_snapshot!(items_with("mode = \"increment\""), @"");
    assert_snapshot!(items_with("mode = \"full\""), @"");
    assert_snapshot!(requests_with("mode = \"append\""), @"");
    assert_snapshot!(requests_with("mode = \"incremental\""), @"");
    assert_snapshot!(items_with("version = \"photo\""), @"");
    assert_snapshot!(items_with("types = { photo = \"text\" }"), @"");
    assert_snapshot!(items_with("types = { weight = \"float\", size = \"decimal(40,2)\", day = \"dates\" }"), @"");
    assert_snapshot!(items_with("types = \"text\""), @"");
    assert_snapshot!(items_with("contract = \"frozen\""), @"");
    assert_snapshot!(items_with("contract = { new_column = \"freeze\", values = \"evolve\", gone_columns = \"discard\" }"), @"");
    assert_snapshot!(items_with("contract = true"), @"");
    assert_snapshot!(items_with("deletion_vectors = \"yes\""), @"");
    assert_snapshot!(connector("sweep = \"1d\"", "sweep = \"monthly\""), @"");
}

#[test]
fn load_and_retention_messages() {
    assert_snapshot!(erp_with("load = { connections = 0, statement_timeout = \"long\", retry = 3 }"), @"");
    assert_snapshot!(erp_with("load = { hours = \"20\", retries = 100, time_limit = \"0s\" }"), @"");
    assert_snapshot!(erp_with("load = { hours = \"6-25\" }"), @"");
    assert_snapshot!(settings("[authority]", "[retention]\nruns = \"30d\"\nsent = \"7d\"\nplans = \"1d\"\n\n[authority]"), @"");
}
