//! A small valid project, and what is said when one thing in it is wrong.

mod files;
mod pipelines;
mod pulls;

use std::path::Path;

use insta::assert_snapshot;

use super::*;
use crate::base::Diagnose;

const VALID: [(&str, &str); 11] = [
    (
        "loopline.toml",
        r#"strategy = "order-driven"
store = "./.loopline"
memory_limit = "512MiB"

[authority]
"erp.items" = "erp"

[systems.erp]
connector = "acme_erp"
url = "postgres://hub@db.example.com:5432/erp?schema=prod"
secret = { env = "ERP_PASSWORD" }
max_age = "2h"
"#,
    ),
    (
        "connectors/acme_erp/connector.toml",
        r#"protocol = "sql"
time_zone = "Europe/Berlin"

[stream.items]
table = "ITEM"
key = ["id"]
cursor = { field = "updated", kind = "timestamp", lookback = "10m" }
sweep = "1d"
exclude = ["photo"]

[stream.requests]
key = ["ref"]
cursor = { field = "row_version", kind = "integer" }

[write.purchase_requests]
resource = "requests"
key = ["ref"]
hub_key = "ref"
version = "row_version"
operations = ["insert", "update", "delete"]
editable = "status = 'PROPOSED'"
"#,
    ),
    ("connectors/acme_erp/erp.items.sql", "select id as item_id, name, stock, changed from items\n"),
    (
        "connectors/acme_erp/write.purchase_requests.sql",
        "select request_id as ref, item_id as item, _reason from outbox.purchase_requests\n",
    ),
    (
        "sql/erp/items.sql",
        "-- One row per item.\ncreate table items (\n  item_id text not null, -- the ERP's own number\n  name    text,\n  stock   decimal(18,6), -- in pieces -- counted\n  changed timestamp(6) with time zone,\n  primary key (item_id)\n);\n",
    ),
    (
        "sql/erp/stocks.sql",
        "create table erp.stocks (\n  item_id text references erp.items, -- what\n  place text references xref.sites,\n  day date,\n  primary key (item_id, place)\n);\n",
    ),
    ("sql/xref/items.sql", "--! description = \"Who is who\"\n--! key = [\"system\", \"source_key\"]\nselect 1\n"),
    ("sql/xref/sites.sql", "--! description = \"Where is where\"\n--! key = [\"system\", \"source_key\"]\nselect 1\n"),
    (
        "sql/outbox/purchase_requests.sql",
        "-- What to buy.\n\n--! description = \"What to buy\"\n--! key = [\"request_id\"]\n--! clock = \"day\"\n--! checks = [\n--!   \"quantity > 0\",\n--!   { expression = \"needed > '2020-01-01'\", severity = \"warn\" },\n--! ]\nselect 1\n",
    ),
    (
        "sql/kpi/otif.sql",
        "--! description = \"Lines in full, on time\"\n--! [kpi]\n--! title = \"OTIF\"\n--! unit = \"%\"\n--! scale = 100\n--! better = \"higher\"\n--! target = 95\n--! source = \"SCOR RL.1.1\"\n--! node = \"scm\"\nselect 1\n",
    ),
    (
        "pipelines/plan.toml",
        r#"schedule = { cron = "0 0 5 * * Mon-Fri", timezone = "Europe/Berlin", missed = "skip", overlap = "wait" }
pull = ["erp"]
build = ["outbox", "erp.items"]

[write]
"outbox.purchase_requests" = { mode = "approve", limits = { rows = 50 } }
"#,
    ),
];

fn write(root: &Path, path: &str, text: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn valid() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in VALID {
        write(root.path(), path, text);
    }
    root
}

fn messages(root: &Path) -> String {
    let errors = match Project::load(root) {
        Ok(_) => return "no error".into(),
        Err(errors) => errors,
    };
    let line = |error: &ProjectError| match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What is said when `from` in `path` is replaced by `to`.
fn replaced(path: &str, from: &str, to: &str) -> String {
    let root = valid();
    let text = std::fs::read_to_string(root.path().join(path)).unwrap();
    assert!(text.contains(from), "{path} does not contain {from}");
    write(root.path(), path, text.replacen(from, to, 1));
    messages(root.path())
}

/// What is said when a file is added.
fn added(path: &str, text: impl AsRef<[u8]>) -> String {
    let root = valid();
    write(root.path(), path, text);
    messages(root.path())
}

fn removed(path: &str) -> String {
    let root = valid();
    std::fs::remove_file(root.path().join(path)).unwrap();
    messages(root.path())
}

fn settings(from: &str, to: &str) -> String {
    replaced("loopline.toml", from, to)
}

fn connector(from: &str, to: &str) -> String {
    replaced("connectors/acme_erp/connector.toml", from, to)
}

fn items(from: &str, to: &str) -> String {
    replaced("sql/erp/items.sql", from, to)
}

fn outbox(from: &str, to: &str) -> String {
    replaced("sql/outbox/purchase_requests.sql", from, to)
}

fn kpi(from: &str, to: &str) -> String {
    replaced("sql/kpi/otif.sql", from, to)
}

fn plan(from: &str, to: &str) -> String {
    replaced("pipelines/plan.toml", from, to)
}

#[test]
fn a_valid_project_is_read_as_it_is_written() {
    let root = valid();
    let project = Project::load(root.path()).unwrap_or_else(|_| panic!("{}", messages(root.path())));
    assert_eq!(project.control, Path::new("./.loopline/control.sqlite"));
    assert_eq!(project.memory_limit_bytes, 512 << 20);
    let erp = &project.systems["erp"];
    assert_eq!(erp.time_zone, Some(Tz::Europe__Berlin));
    assert_eq!(erp.max_age, Duration::from_secs(7_200));
    let items = &erp.connector.streams["items"];
    assert_eq!((items.table.as_str(), items.cursor.as_ref().unwrap().lookback), ("ITEM", 600));
    assert_eq!(erp.connector.streams["requests"].table, "requests");
    assert_eq!(erp.connector.writes["purchase_requests"].operations.len(), 3);
    let contract = &project.contracts[&TableName::new("erp", "items")];
    assert_eq!(contract.primary_key, ["item_id"]);
    assert_eq!(contract.columns[0].description, "the ERP's own number");
    assert_eq!((contract.columns[2].line, contract.columns[2].description.as_str()), (5, "in pieces -- counted"));
    assert!(!project.contracts[&TableName::new("erp", "stocks")].columns[1].nullable);
    let outbox = &project.models[&TableName::new("outbox", "purchase_requests")];
    assert_eq!((outbox.clock, outbox.checks.len(), outbox.checks[1].severity), (Some(Grain::Day), 2, Severity::Warn));
    let plan = &project.pipelines["plan"];
    assert_eq!((plan.write["purchase_requests"].mode, plan.write["purchase_requests"].limits.rows), (Mode::Approve, 50));
    assert_eq!(project.models[&TableName::new("kpi", "otif")].kpi.as_ref().unwrap().scale, 100.0);
}

#[test]
fn every_error_of_every_file_is_reported_at_once() {
    let root = valid();
    write(root.path(), "loopline.toml", "strategi = \"order-driven\"\nstore = 3\n[systems.erp]\nurl = \"mssql://x\"\n");
    write(root.path(), "pipelines/plan.toml", "pull = [\"epr\"]\nbuild = [\"smc\", \"erp.itms\"]\n");
    assert_snapshot!(messages(root.path()), @r#"
    loopline.toml:1: unknown key "strategi"
    hint: did you mean "strategy"?
    loopline.toml:2: "store" must be text, not an integer
    loopline.toml:3: system "erp": "connector" is missing
    hint: add connector = "the name of a folder in connectors/"
    loopline.toml:4: system "erp": "mssql:" is not an address that can be spoken to
    hint: write sqlite:path/to/file.db, postgres://user@host:5432/database or mysql://user@host:3306/database
    pipelines/plan.toml:1: pull: there is no system "epr" in loopline.toml
    hint: did you mean "erp"?
    pipelines/plan.toml:2: build: there is no schema or table "smc"
    hint: known schemas: erp, kpi, outbox, xref
    pipelines/plan.toml:2: build: there is no schema or table "erp.itms"
    hint: did you mean "erp.items"?
    "#);
}

#[test]
fn settings_messages() {
    assert_snapshot!(settings("store =", "stor ="), @r#"
    loopline.toml:2: unknown key "stor"
    hint: did you mean "store"?
    "#);
    assert_snapshot!(settings("strategy = \"order-driven\"\n", ""), @r#"
    loopline.toml:1: "strategy" is missing
    hint: add strategy = "order-driven" (or project-based, integrator)
    "#);
    assert_snapshot!(settings("order-driven", "order-drive"), @r#"
    loopline.toml:1: strategy: "order-drive" is not one of project-based, order-driven, integrator
    hint: did you mean "order-driven"?
    "#);
    assert_snapshot!(settings("512MiB", "1MiB"), @r#"loopline.toml:3: memory_limit: "1MiB" is too little to plan with; give at least 64MiB"#);
    assert_snapshot!(settings("512MiB", "lots"), @r#"loopline.toml:3: memory_limit: "lots" is not a size (a whole number and MiB or GiB: 512MiB, 4GiB)"#);
    assert_snapshot!(settings("\"2h\"", "2"), @r#"loopline.toml:12: system "erp": "max_age" must be text, not an integer"#);
    assert_snapshot!(settings("\"2h\"", "\"2 hours\""), @r#"loopline.toml:12: system "erp": max_age: "2 hours" is not a duration (a whole number and s, m, h or d: 30s, 5m, 2h, 1d)"#);
    assert_snapshot!(settings("acme_erp", "acme"), @r#"
    loopline.toml:9: system "erp": there is no folder connectors/acme
    hint: did you mean "acme_erp"?
    "#);
    assert_snapshot!(settings("\"erp.items\" =", "\"erp.item\" ="), @r#"
    loopline.toml:6: authority: there is no contract "erp.item"
    hint: did you mean "erp.items"?
    "#);
    assert_snapshot!(settings("= \"erp\"", "= \"epr\""), @r#"
    loopline.toml:6: authority: there is no system "epr"
    hint: did you mean "erp"?
    "#);
    assert_snapshot!(settings("hub@db", "hub:swordfish@db"), @r#"
    loopline.toml:10: system "erp": the address holds a password
    hint: remove it from the address and name where it is kept: secret = { env = "NAME" } or secret = { file = "path" }
    "#);
    assert_snapshot!(settings("?schema=prod", "?password=swordfish"), @r#"
    loopline.toml:10: system "erp": the address holds a password
    hint: remove it from the address and name where it is kept: secret = { env = "NAME" } or secret = { file = "path" }
    "#);
    assert_snapshot!(settings("postgres://hub@db.example.com:5432/erp", "postgres://db.example.com"), @r#"
    loopline.toml:10: system "erp": the address names no user
    hint: write postgres://user@host:5432/database, with ?schema=name if it is not public
    loopline.toml:10: system "erp": the address names no database
    hint: write postgres://user@host:5432/database, with ?schema=name if it is not public
    "#);
    assert_snapshot!(settings("postgres://", "odbc://"), @r#"
    loopline.toml:10: system "erp": "odbc:" is not an address that can be spoken to
    hint: write sqlite:path/to/file.db, postgres://user@host:5432/database or mysql://user@host:3306/database
    "#);
    assert_snapshot!(settings("./.loopline", "s4://bucket"), @r#"
    loopline.toml:2: store: "s4://" is not a kind of store
    hint: known kinds of store: abfs, abfss, az, file, gs, s3
    "#);
    assert_snapshot!(settings("{ env = \"ERP_PASSWORD\" }", "{ }"), @r#"
    loopline.toml:11: system "erp", secret: a secret needs either env or file
    hint: write secret = { env = "NAME" } or secret = { file = "path" }; the secret itself never stands in a file of the project
    "#);
    assert_snapshot!(settings("{ env = \"ERP_PASSWORD\" }", "\"swordfish\""), @r#"
    loopline.toml:11: system "erp": "secret" must say where the secret is kept, not the secret itself
    hint: write secret = { env = "NAME" } or secret = { file = "path" }; the secret itself never stands in a file of the project
    "#);
    assert_snapshot!(settings("max_age =", "time_zone = \"Berlin/Europe\"\nmax_age ="), @r#"loopline.toml:12: system "erp": time_zone: "Berlin/Europe" is not a time zone (IANA name: Europe/Berlin, UTC)"#);
    assert_snapshot!(settings("[systems.erp]", "[systems.ERP_1]"), @r#"
    loopline.toml:6: authority: there is no system "erp"
    hint: known systems: ERP_1
    loopline.toml:8: system "ERP_1": a system is named in lower case letters, digits and single _
    hint: rename it, for example to "erp_1"
    pipelines/plan.toml:2: pull: there is no system "erp" in loopline.toml
    hint: known systems: ERP_1
    "#);
    assert_snapshot!(settings("max_age = \"2h\"", "max_age = \"2h\"\nmax_age = \"3h\""), @r#"
    loopline.toml:13: "max_age" stands twice
    hint: keep one
    "#);
    assert_snapshot!(settings("[systems.erp]", "[systems.erp"), @"loopline.toml:8: not valid TOML: unclosed table, expected `]`");
}

#[test]
fn connector_messages() {
    assert_snapshot!(connector("protocol = \"sql\"", "protocol = \"sqll\""), @r#"
    connectors/acme_erp/connector.toml:1: protocol: "sqll" is not one of sql, files
    hint: did you mean "sql"?
    "#);
    assert_snapshot!(connector("Europe/Berlin", "Europe/Berlim"), @r#"connectors/acme_erp/connector.toml:2: time_zone: "Europe/Berlim" is not a time zone (IANA name: Europe/Berlin, UTC); did you mean "Europe/Berlin"?"#);
    assert_snapshot!(connector("key = [\"id\"]\n", ""), @r#"
    connectors/acme_erp/connector.toml:4: stream "items": "key" is missing
    hint: add key = ["id"], the columns that identify a row
    "#);
    assert_snapshot!(connector("key = [\"id\"]", "key = []"), @r#"
    connectors/acme_erp/connector.toml:4: stream "items": "key" is empty
    hint: name at least one
    "#);
    assert_snapshot!(connector("key = [\"id\"]", "key = \"id\""), @r#"
    connectors/acme_erp/connector.toml:6: stream "items": "key" must be a list of texts, not text
    hint: write key = ["id"]
    "#);
    assert_snapshot!(connector("key = [\"id\"]", "key = [\"id\", \"id\"]"), @r#"
    connectors/acme_erp/connector.toml:6: stream "items": "id" stands twice in "key"
    hint: keep one
    "#);
    assert_snapshot!(connector("lookback = \"10m\"", "lookback = 600"), @r#"connectors/acme_erp/connector.toml:7: stream "items", cursor: "lookback" must be text, not an integer"#);
    assert_snapshot!(connector("exclude = [\"photo\"]", "exclude = [\"id\"]"), @r#"
    connectors/acme_erp/connector.toml:9: stream "items": column "id" is part of the key or the cursor and cannot be excluded
    hint: remove it from `exclude`
    "#);
    assert_snapshot!(connector("key = [\"ref\"]\ncursor = { field = \"row_version\", kind = \"integer\" }", "key = [\"ref\"]\nsweep = \"1d\""), @r#"
    connectors/acme_erp/connector.toml:13: stream "requests": "sweep" without a cursor has no effect
    hint: remove `sweep`: without a cursor every pull compares the whole table
    "#);
    assert_snapshot!(connector("[stream.items]", "[stream.Items]"), @r#"
    connectors/acme_erp/connector.toml:4: stream "Items": a stream is named in lower case letters, digits and single _
    hint: rename it, for example to "items"; `table` holds the source's own name
    "#);
    assert_snapshot!(connector("resource = \"requests\"", "resource = \"request\""), @r#"
    connectors/acme_erp/connector.toml:16: write "purchase_requests": resource "request" is not a stream of this connector
    hint: did you mean "requests"?
    "#);
    assert_snapshot!(connector("hub_key = \"ref\"\n", ""), @r#"
    connectors/acme_erp/connector.toml:15: write "purchase_requests": "hub_key" is missing, and inserts and deletes need it
    hint: name the column that stores the hub's own key, or allow only "update"
    "#);
    assert_snapshot!(connector("hub_key = \"ref\"", "hub_key = \"reff\""), @r#"
    connectors/acme_erp/connector.toml:18: write "purchase_requests": hub_key "reff" is not one of `key`
    hint: did you mean "ref"?
    "#);
    assert_snapshot!(connector("\"delete\"]", "\"remove\"]"), @r#"connectors/acme_erp/connector.toml:20: write "purchase_requests": operations: "remove" is not one of insert, update, delete"#);
    assert_snapshot!(connector("status = 'PROPOSED'", "status = = 1"), @r#"connectors/acme_erp/connector.toml:21: write "purchase_requests": "editable" is not a condition: Expected: an expression, found: ="#);
    assert_snapshot!(connector("[write.purchase_requests]", "[write.purchase_request]"), @r#"
    connectors/acme_erp/connector.toml:15: write "purchase_request": there is no model sql/outbox/purchase_request.sql
    hint: did you mean "purchase_requests"?
    connectors/acme_erp/connector.toml:15: write "purchase_request": its map write.purchase_request.sql is missing in this folder
    hint: write the select that turns rows of outbox.purchase_request into this product's fields as write.purchase_request.sql
    connectors/acme_erp/write.purchase_requests.sql:1: connector.toml has no [write.purchase_requests]
    hint: did you mean "purchase_request"?
    "#);
    assert_snapshot!(removed("connectors/acme_erp/write.purchase_requests.sql"), @r#"
    connectors/acme_erp/connector.toml:15: write "purchase_requests": its map write.purchase_requests.sql is missing in this folder
    hint: write the select that turns rows of outbox.purchase_requests into this product's fields as write.purchase_requests.sql
    "#);
    assert_snapshot!(removed("connectors/acme_erp/connector.toml"), @r#"
    cannot read connectors/acme_erp/connector.toml
    hint: make the file, or remove what names it
    "#);
    assert_snapshot!(removed("sql/outbox/purchase_requests.sql"), @r#"
    connectors/acme_erp/connector.toml:15: write "purchase_requests": there is no model sql/outbox/purchase_requests.sql
    pipelines/plan.toml:3: build: there is no schema or table "outbox"
    hint: known schemas: erp, kpi, xref
    pipelines/plan.toml:6: write: there is no outbox "outbox.purchase_requests"
    "#);
    assert_snapshot!(added("connectors/acme_erp/erp.item.sql", "select 1"), @r#"
    connectors/acme_erp/erp.item.sql:1: there is no contract sql/erp/item.sql
    hint: did you mean "erp.items"?
    "#);
    assert_snapshot!(added("connectors/acme_erp/scm.items.sql", "select 1"), @r#"
    connectors/acme_erp/scm.items.sql:1: "scm" is not a schema of contracts (crm, erp, mes, wms)
    hint: did you mean "erp.items"?
    "#);
    assert_snapshot!(added("connectors/acme_erp/items.sql", "select 1"), @r#"
    connectors/acme_erp/items.sql:1: "items" does not say what the file fills
    hint: a map is <schema>.<contract>.sql, a write map write.<outbox>.sql
    "#);
    assert_snapshot!(added("connectors/acme_erp/erp.stocks.sql", "--! key = [\"x\"]\nselect 1"), @r#"
    connectors/acme_erp/erp.stocks.sql:1: a map has no `--!` header
    hint: only models have one; use `--` for a comment
    "#);
    assert_snapshot!(added("connectors/unused/connector.toml", "protocol = \"sql\"\n[stream.a]\n"), @r#"
    connectors/unused/connector.toml:2: stream "a": "key" is missing
    hint: add key = ["id"], the columns that identify a row
    "#);
}

#[test]
fn contract_messages() {
    assert_snapshot!(items("name    text", "name    varchar(20)"), @r#"
    sql/erp/items.sql:4: column "name": type varchar(20) is not supported
    hint: use one of text, int, bigint, double, boolean, date, decimal(p,s), timestamp(6) with time zone
    "#);
    assert_snapshot!(items("with time zone", ""), @r#"
    sql/erp/items.sql:6: column "changed": type timestamp(6) is not supported
    hint: use one of text, int, bigint, double, boolean, date, decimal(p,s), timestamp(6) with time zone
    "#);
    assert_snapshot!(items("decimal(18,6)", "decimal"), @r#"
    sql/erp/items.sql:5: column "stock": type decimal is not supported
    hint: use one of text, int, bigint, double, boolean, date, decimal(p,s), timestamp(6) with time zone
    "#);
    assert_snapshot!(items("primary key (item_id)", "primary key (itm_id)"), @r#"
    sql/erp/items.sql:7: primary key: there is no column "itm_id"
    hint: did you mean "item_id"?
    "#);
    assert_snapshot!(items(",\n  primary key (item_id)", ""), @r#"
    sql/erp/items.sql:2: the contract has no primary key
    hint: end it with: primary key (…)
    "#);
    assert_snapshot!(items("name    text", "name    text,\n  name int"), @r#"sql/erp/items.sql:5: column "name" is declared twice (first in line 4)"#);
    assert_snapshot!(items("name    text", "system  text"), @r#"
    sql/erp/items.sql:4: column "system" is in every contract and not declared
    hint: remove it
    "#);
    assert_snapshot!(items("name    text", "name    text default 'x'"), @r#"
    sql/erp/items.sql:4: column "name": "default 'x'" is not supported
    hint: a column may say not null, primary key and references
    "#);
    assert_snapshot!(items("name    text", "name    text references erp.stock"), @r#"
    sql/erp/items.sql:4: column "name" references "erp.stock", which does not exist
    hint: did you mean "erp.stocks"?
    "#);
    assert_snapshot!(items("name    text", "name    int references erp.sites"), @r#"
    sql/erp/items.sql:4: column "name" references "erp.sites", which does not exist
    hint: did you mean "erp.items"?
    "#);
    assert_snapshot!(items("name    text", "site text references xref.sites,\n source_site text"), @r#"
    sql/erp/items.sql:5: column "source_site" is where the hub keeps the source's own "site"
    hint: remove or rename it
    "#);
    assert_snapshot!(items("create table items", "create table item"), @r#"
    sql/erp/items.sql:2: the table is called "item", but the file's path says "erp.items"
    hint: write `create table items`, or rename the file
    "#);
    assert_snapshot!(items("create table items (", "create items ("), @"sql/erp/items.sql:2: not valid SQL: Expected: an object type after CREATE, found: items");
    assert_snapshot!(items("primary key (item_id)", "primary key (item_id), unique (name)"), @r#"
    sql/erp/items.sql:7: "UNIQUE (name)" is not supported
    hint: a contract may have one primary key; references stand beside their column
    "#);
    assert_snapshot!(added("sql/wms/lots.sql", "select 1"), @r#"
    sql/wms/lots.sql:1: a contract holds one `create table` and nothing else
    hint: a contract is one `create table lots (…)`
    "#);
    assert_snapshot!(added("sql/wms/lots.sql", ""), @r#"
    sql/wms/lots.sql:1: the file is empty
    hint: a contract is one `create table lots (…)`
    "#);
}

#[test]
fn model_messages() {
    assert_snapshot!(added("sql/scm/plan.sql", "select 1"), @r#"
    sql/scm/plan.sql:1: the model has no header
    hint: start the file with: --! description = "what a row says"
    "#);
    assert_snapshot!(outbox("--! description", "--! descripton"), @r#"
    sql/outbox/purchase_requests.sql:3: unknown key "descripton"
    hint: did you mean "description"?
    "#);
    assert_snapshot!(outbox("--! key = [\"request_id\"]\n", ""), @r#"
    sql/outbox/purchase_requests.sql:3: "key" is missing
    hint: add key = ["item_id"], the columns that identify a wanted row
    "#);
    assert_snapshot!(outbox("\"day\"", "\"week\""), @r#"sql/outbox/purchase_requests.sql:5: clock: "week" is not one of minute, hour, day, month"#);
    assert_snapshot!(outbox("quantity > 0", "quantity >"), @r#"sql/outbox/purchase_requests.sql:7: check "quantity >" is not a condition: Expected: an expression, found: EOF"#);
    assert_snapshot!(outbox("severity = \"warn\"", "severity = \"warning\""), @r#"
    sql/outbox/purchase_requests.sql:8: checks: severity: "warning" is not one of error, warn
    hint: did you mean "warn"?
    "#);
    let incremental = |text: &str| outbox("--! clock", &format!("--! incremental = {text}\n--! clock"));
    assert_snapshot!(incremental("\"key\""), @r#"sql/outbox/purchase_requests.sql:5: "incremental" must be a table, not text"#);
    assert_snapshot!(incremental("{ by = \"keys\" }"), @r#"
    sql/outbox/purchase_requests.sql:5: incremental: by: "keys" is not one of key, interval
    hint: did you mean "key"?
    "#);
    assert_snapshot!(incremental("{ lookback = \"1d\" }"), @r#"
    sql/outbox/purchase_requests.sql:5: incremental: "by" is missing
    hint: add by = "key" or "interval"
    "#);
    assert_snapshot!(incremental("{ by = \"interval\" }"), @r#"
    sql/outbox/purchase_requests.sql:5: incremental: "column" is missing
    hint: add column = "day", a column of days or instants
    "#);
    assert_snapshot!(incremental("{ by = \"interval\", column = \"day\", lookback = \"3 days\" }"), @r#"sql/outbox/purchase_requests.sql:5: incremental: lookback: "3 days" is not a duration (a whole number and s, m, h or d: 30s, 5m, 2h, 1d)"#);
    assert_snapshot!(incremental("{ by = \"key\", lookback = \"3d\" }"), @r#"
    sql/outbox/purchase_requests.sql:5: incremental: column and lookback are for by = "interval"
    hint: remove them
    "#);
    assert_snapshot!(added("sql/scm/plan.sql", "--! description = \"x\"\n--! incremental = { by = \"key\" }\nselect 1 as n"), @r#"
    sql/scm/plan.sql:2: incremental: by = "key" needs the model's key
    hint: add --! key = ["order_id"], the columns that identify a row
    "#);
    assert_snapshot!(outbox("--! key", "\n--! key"), @r#"
    sql/outbox/purchase_requests.sql:5: this header line is not part of the header
    hint: keep all `--!` lines together, without a line between them
    "#);
    assert_snapshot!(outbox("--! clock = \"day\"", "--! clock = day"), @"sql/outbox/purchase_requests.sql:5: not valid TOML: string values must be quoted, expected literal string");
    assert_snapshot!(outbox("-- What to buy.", "select 1;"), @r#"
    sql/outbox/purchase_requests.sql:3: the header stands after the statement
    hint: move the `--!` lines to the top of the file
    "#);
    assert_snapshot!(outbox("--! clock", "--! kpi = { title = \"x\" }\n--! clock"), @r#"
    sql/outbox/purchase_requests.sql:5: kpi: only models in sql/kpi are indicators
    hint: move the file to sql/kpi, or remove [kpi]
    sql/outbox/purchase_requests.sql:5: kpi: "unit" is missing
    hint: add unit = "%"
    sql/outbox/purchase_requests.sql:5: kpi: "better" is missing
    hint: add better = "higher"
    sql/outbox/purchase_requests.sql:5: kpi: "source" is missing
    hint: add source = "SCOR RL.1.1", where the formula comes from
    sql/outbox/purchase_requests.sql:5: kpi: "node" is missing
    hint: add node = "scm", the part of the loop that it belongs to
    "#);
    assert_snapshot!(kpi("--! node = \"scm\"", "--! node = \"sale\""), @r#"sql/kpi/otif.sql:9: kpi: node: "sale" is not one of crm, erp, scm, aps, srm, mes, wms, qms, loop"#);
    assert_snapshot!(kpi("--! better = \"higher\"\n", ""), @r#"
    sql/kpi/otif.sql:2: kpi: "better" is missing
    hint: add better = "higher"
    "#);
    assert_snapshot!(kpi("scale = 100", "scale = nan"), @r#"sql/kpi/otif.sql:5: kpi: "scale" must be a finite number, not nan"#);
    assert_snapshot!(added("sql/kpi/new.sql", "--! description = \"x\"\nselect 1"), @r#"
    sql/kpi/new.sql:1: "kpi" is missing
    hint: add kpi = { title = "…", unit = "%", better = "higher", source = "…", node = "scm" }
    "#);
}

#[test]
fn file_messages() {
    assert_snapshot!(removed("loopline.toml"), @r#"
    cannot read loopline.toml
    hint: run `loopline init` here, or name the project's folder with --project
    "#);
    assert_snapshot!(added("sql/scm/plan.sql", b"--! description = \"x\"\n-- \xff\nselect 1"), @r#"
    sql/scm/plan.sql:2: not UTF-8 text
    hint: save the file as UTF-8
    "#);
    assert_snapshot!(added("sql/scm/Plan-1.sql", "select 1"), @r#"
    sql/scm/Plan-1.sql:1: a table's file is named in lower case letters, digits and _, not "Plan-1"
    hint: rename it, for example to "plan_1"
    "#);
    assert_snapshot!(added("sql/stray.sql", "select 1"), @r#"
    sql/stray.sql:1: this file has no schema
    hint: move it to sql/<schema>/<name>.sql: the path is the table's name
    "#);
    assert_snapshot!(added("sql/scm/deep/plan.sql", "select 1"), @r#"
    sql/scm/deep:1: folders inside a schema are not read
    hint: a table is sql/<schema>/<name>.sql, one folder deep
    "#);
    assert_snapshot!(added("sql/raw/plan.sql", "select 1"), @r#"
    sql/raw:1: schema "raw" is filled by the hub itself
    hint: give the folder another name
    "#);
    assert_snapshot!(added("connectors/Odoo/connector.toml", ""), @r#"
    connectors/Odoo:1: a connector's folder is named in lower case letters, digits and _, not "Odoo"
    hint: rename it, for example to "odoo"
    "#);
    assert_snapshot!(added("sql/scm/plan.sql", vec![b'-'; 5 << 20]), @"sql/scm/plan.sql:1: the file has 5242880 bytes; at most 4194304 are read");
}

#[test]
fn a_folder_that_cannot_be_listed_is_named() {
    let root = valid();
    std::fs::remove_dir_all(root.path().join("pipelines")).unwrap();
    write(root.path(), "pipelines", "not a folder");
    assert_snapshot!(messages(root.path()), @"cannot read pipelines");
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_project_is_refused() {
    let root = valid();
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "plan.sql", "select 1");
    std::fs::create_dir(root.path().join("sql/scm")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("plan.sql"), root.path().join("sql/scm/plan.sql")).unwrap();
    std::os::unix::fs::symlink(root.path().join("nowhere"), root.path().join("sql/scm/gone.sql")).unwrap();
    assert_snapshot!(messages(root.path()), @r#"
    cannot read sql/scm/gone.sql
    hint: make the file, or remove what names it
    sql/scm/plan.sql:1: this link leads out of the project
    hint: copy it: a project must be complete in its own folder
    "#);
}
