//! Bad input, end to end: what the message names, that nothing is lost, that the other system's pull goes on, that a failed run publishes nothing.

use serde_json::Value;

use crate::harness::{Mini, Said, differences};
use crate::scenario::Database;

/// Recreates a table of the ERP without its constraints, so that it can hold what it should not.
fn loose(table: &str, columns: &str) -> String {
    format!(
        "alter table {table} rename to strict; create table {table} ({columns}); insert into {table} select * from strict; drop table strict;"
    )
}

const ITEM: &str = "id text, name text, unit text, status text, updated timestamp";
const ORDER_LINE: &str = "order_no text, line_no integer, item_id text, quantity decimal(12,3), requested date, promised date, status text, row_ver integer";

/// A plant in which everything was written and confirmed.
fn settled() -> Mini {
    let plant = Mini::new();
    plant.settle("loop");
    plant
}

/// What one stream's pull says, error and hint; empty if it went well.
fn stream_error(report: &Value, system: &str, stream: &str) -> String {
    let systems = report["systems"].as_array().unwrap();
    let system = systems.iter().find(|pull| pull["system"] == system).unwrap();
    if let Some(error) = system["error"].as_str() {
        return format!("{error}; {}", system["hint"].as_str().unwrap_or_default());
    }
    let streams = system["streams"].as_array().unwrap();
    let stream = streams.iter().find(|pull| pull["stream"] == stream).unwrap_or_else(|| panic!("no stream {stream}: {report:#}"));
    stream["error"].as_str().map_or_else(String::new, |error| format!("{error}; {}", stream["hint"].as_str().unwrap_or_default()))
}

/// The ERP's `stream` cannot be read: the message holds all of `says`, nothing that was pulled is lost, the WMS is pulled, and a run that needs newer rows
/// publishes nothing. Returns what is wrong with that.
fn refused(plant: &Mini, stream: &str, says: &[&str]) -> Result<(), String> {
    let before = plant.cut();
    let raw = plant.tables_of(&["raw"]);
    plant.sql("wms", "update stock set quantity = quantity + 1 where id = 'L5'");
    let said = plant.loopline(&["pull", "--json"]);
    if said.code != Some(1) {
        return Err(format!("exit code of the pull: {said:?}"));
    }
    let report: Value = serde_json::from_str(&said.stdout).map_err(|error| format!("{error}: {said:?}"))?;
    let message = stream_error(&report, "erp", stream);
    let missing: Vec<&&str> = says.iter().filter(|part| !message.contains(**part)).collect();
    if !missing.is_empty() {
        return Err(format!("{missing:?} is not in: {message}"));
    }
    let wms = report["systems"].as_array().unwrap().iter().find(|pull| pull["system"] == "wms").unwrap();
    if wms["streams"][0]["updated"] != 1 {
        return Err(format!("the WMS was not pulled: {wms:#}"));
    }
    if !differences(&before, &plant.cut()).is_empty() {
        return Err("a pull changed what is published".into());
    }
    // Once the ERP's rows are older than they may be, nothing is decided on them.
    edit(plant, "loopline.toml", "max_age = \"1d\"", "max_age = \"1s\"");
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    let said = plant.loopline(&["run", "loop", "--json"]);
    let report: Value = serde_json::from_str(&said.stdout).map_err(|error| format!("{error}: {said:?}"))?;
    if said.code != Some(1) || report["outcome"] != "failed" || report["cut"] != false {
        return Err(format!("the run did not fail: {:?} {}", said.code, report["message"]));
    }
    if !says.iter().all(|part| report["message"].as_str().unwrap().contains(part) || !part.starts_with("stream")) {
        return Err(format!("the run does not say why: {}", report["message"]));
    }
    let lost = differences(&before, &plant.cut());
    if !lost.is_empty() || raw.get(&format!("raw.erp__{stream}")) != plant.tables_of(&["raw"]).get(&format!("raw.erp__{stream}"))
    {
        return Err(format!("rows were lost or published: {lost}"));
    }
    Ok(())
}

#[test]
fn rows_that_cannot_be_read_stop_their_stream_and_nothing_else() {
    let loose_item = loose("item", ITEM);
    let loose_line = loose("order_line", ORDER_LINE);
    let cases: Vec<(&str, String, &str, Vec<&str>)> = vec![
        (
            "no key column",
            "alter table item rename column id to code".into(),
            "item",
            vec!["system \"erp\"", "stream \"item\"", "table \"item\" has no key column \"id\"", "connector.toml"],
        ),
        (
            "table gone",
            "alter table item rename to article".into(),
            "item",
            vec!["system \"erp\"", "stream \"item\"", "there is no table \"item\""],
        ),
        (
            "column gone",
            "alter table item drop column unit".into(),
            "item",
            vec!["system \"erp\"", "stream \"item\"", "column \"unit\""],
        ),
        (
            "type changed",
            format!("{loose_item} alter table item drop column unit; alter table item add column unit integer"),
            "item",
            vec!["system \"erp\"", "stream \"item\"", "column \"unit\""],
        ),
        (
            "NULL in a key",
            format!("{loose_item} insert into item values (null, 'Ghost', 'pc', 'active', '2026-03-01 08:03:00')"),
            "item",
            vec!["system \"erp\"", "stream \"item\"", "no value in key column \"id\""],
        ),
        (
            "duplicate key",
            format!(
                "{loose_line} insert into order_line select order_no, line_no, item_id, quantity + 1, requested, promised, status, row_ver from order_line where order_no = 'S1'"
            ),
            "order_line",
            vec!["system \"erp\"", "stream \"order_line\"", "S1"],
        ),
        (
            "number out of range",
            format!("{loose_line} update order_line set quantity = 12345678901.5 where order_no = 'S2' and line_no = 1"),
            "order_line",
            vec![
                "system \"erp\"",
                "stream \"order_line\"",
                "column \"quantity\"",
                "order_no=\"S2\"",
                "12345678901.5",
                "decimal(12,3)",
            ],
        ),
        (
            "text in a number",
            format!("{loose_line} update order_line set line_no = 'first' where order_no = 'S3'"),
            "order_line",
            vec!["system \"erp\"", "stream \"order_line\"", "column \"line_no\"", "first"],
        ),
        (
            "invalid UTF-8",
            "update item set name = cast(x'ff41' as text), updated = '2026-03-01 08:04:00' where id = 'BOLT'".into(),
            "item",
            vec!["system \"erp\"", "stream \"item\"", "column \"name\"", "id=\"BOLT\"", "UTF-8"],
        ),
        (
            "no timestamp",
            "update item set updated = 'yesterday' where id = 'BOLT'".into(),
            "item",
            vec!["system \"erp\"", "stream \"item\"", "column \"updated\"", "yesterday"],
        ),
    ];
    let plant = settled();
    let mut wrong = Vec::new();
    for (what, sql, stream, says) in cases {
        let plant = plant.copy();
        plant.sql("erp", &sql);
        if let Err(error) = refused(&plant, stream, &says) {
            wrong.push(format!("{what}: {error}"));
        }
    }
    let zoneless = plant.copy();
    edit(&zoneless, "connectors/mini_erp/connector.toml", "time_zone = \"Europe/Berlin\"\n", "");
    let says = ["system \"erp\"", "stream \"item\"", "column \"updated\" holds timestamps without a zone", "set time_zone"];
    if let Err(error) = refused(&zoneless, "item", &says) {
        wrong.push(format!("timestamp without zone: {error}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_system_that_cannot_be_reached_stops_nobody_else() {
    let plant = settled();
    let mut wrong = Vec::new();
    let gone = plant.copy();
    std::fs::remove_file(gone.root().join("erp.db")).unwrap();
    let nobody = plant.copy();
    edit(&nobody, "loopline.toml", "sqlite:erp.db", "postgres://hub@127.0.0.1:1/prod");
    for (plant, says) in [
        (gone, vec!["system \"erp\"", "no database file", "erp.db"]),
        (nobody, vec!["system \"erp\"", "127.0.0.1:1 cannot be reached", "check host and port"]),
    ] {
        if let Err(error) = refused(&plant, "item", &says) {
            wrong.push(error);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The tests' server trusts everybody; one role of this process must say its password.
#[test]
fn a_wrong_password_is_refused_and_never_shown() {
    let Some(database) = Database::new("password", None) else { return };
    let role = format!("careful_{}", std::process::id());
    database.server(&format!("create role {role} login password 'correct horse'"));
    database.server(&format!(
        "do $$ declare path text := current_setting('hba_file'); rules text := 'host all {role} all scram-sha-256' || chr(10) || pg_read_file(path); begin
           execute format('copy (select unnest(string_to_array(%L, chr(10)))) to %L', rules, path);
         end $$"
    ));
    database.server("select pg_reload_conf(), pg_sleep(0.5)");
    let plant = settled();
    std::fs::write(plant.root().join("password"), "battery staple").unwrap();
    let url = database.url().replace("postgres@", &format!("{role}@"));
    edit(&plant, "loopline.toml", "url = \"sqlite:erp.db\"", &format!("url = \"{url}\"\nsecret = {{ file = \"password\" }}"));
    let result = refused(&plant, "item", &["system \"erp\"", "password", &role]);
    let said = plant.loopline(&["pull", "erp"]);
    database.server(&format!("drop role {role}"));
    result.unwrap();
    assert!(!format!("{said:?}").contains("battery staple"), "{said:?}");
}

fn edit(plant: &Mini, file: &str, from: &str, to: &str) {
    let path = plant.root().join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file}: {text}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// A project that is wrong: `check` and `run` end with code 1 and say where, and what is published stays as it is.
fn wrong_project(plant: &Mini, says: &[&str]) -> Result<(), String> {
    let said = [plant.loopline(&["check"]), plant.loopline(&["run", "loop"])];
    let all = |said: &Said| format!("{}{}", said.stdout, said.stderr);
    for (command, said) in ["check", "run"].iter().zip(&said) {
        let missing: Vec<&&str> = says.iter().filter(|part| !all(said).contains(**part)).collect();
        if said.code != Some(1) || !missing.is_empty() {
            return Err(format!("{command}, code {:?}: {missing:?} is not in: {}", said.code, all(said)));
        }
    }
    Ok(())
}

const LINES: &str = "connectors/mini_erp/erp.sales_order_lines.sql";

#[test]
fn a_wrong_project_names_file_and_line_and_publishes_nothing() {
    let cases: &[(&str, &str, &str, &str, &[&str])] = &[
        (
            "a column that no map fills",
            LINES,
            " quantity, requested as",
            " requested as",
            &["erp.sales_order_lines.sql", "quantity"],
        ),
        (
            "a type that does not fit",
            LINES,
            "cast(line_no as int) as line_no",
            "order_no as line_no",
            &["erp.sales_order_lines.sql", "line_no", "text", "cast"],
        ),
        (
            "an unknown stream",
            LINES,
            "from order_line",
            "from order_lime",
            &["erp.sales_order_lines.sql:4", "order_lime", "order_line"],
        ),
        ("an unknown column", LINES, "status when", "state when", &["erp.sales_order_lines.sql", "state"]),
        (
            "an unknown table",
            "sql/outbox/promise_dates.sql",
            "join scm.net_requirements",
            "join scm.net_requirement",
            &["sql/outbox/promise_dates.sql:8", "scm.net_requirement", "did you mean", "scm.net_requirements"],
        ),
        (
            "a cycle",
            "sql/scm/net_requirements.sql",
            "left join stock as s",
            "left join (select item_id as x from scm.circle) as c on c.x = d.item_id left join stock as s",
            &["scm.net_requirements", "scm.circle"],
        ),
        (
            "an unknown key in loopline.toml",
            "loopline.toml",
            "strategy =",
            "stratgy =",
            &["loopline.toml:2", "stratgy", "strategy"],
        ),
        ("a missing key in loopline.toml", "loopline.toml", "url = \"sqlite:wms.db\"", "", &["loopline.toml", "url", "wms"]),
        (
            "an unknown key in a connector",
            "connectors/mini_wms/connector.toml",
            "key = [\"id\"]",
            "keys = [\"id\"]",
            &["connector.toml:4", "keys"],
        ),
        (
            "an unknown key in a pipeline",
            "pipelines/loop.toml",
            "build =",
            "biuld =",
            &["pipelines/loop.toml:2", "biuld", "build"],
        ),
        (
            "an unknown key in a header",
            "sql/scm/net_requirements.sql",
            "--! clock",
            "--! clok",
            &["sql/scm/net_requirements.sql:3", "clok", "clock"],
        ),
        (
            "a column that the source lacks",
            "connectors/mini_erp/connector.toml",
            "[stream.order_line]\nkey = [\"order_no\", \"line_no\"]",
            "[stream.order_line]\nkey = [\"order_no\", \"lineno\"]",
            &["erp", "order_line", "lineno", "line_no"],
        ),
    ];
    let plant = settled();
    let before = plant.tables_of(&["erp", "wms", "scm", "outbox"]);
    let mut wrong = Vec::new();
    for (what, file, from, to, says) in cases {
        let broken = plant.copy();
        let good = broken.root().join(file);
        let text = std::fs::read_to_string(&good).unwrap();
        if *what == "a cycle" {
            let circle = "--! description = \"Round\"\n--! key = [\"item_id\"]\nselect item_id from scm.net_requirements\n";
            std::fs::write(broken.root().join("sql/scm/circle.sql"), circle).unwrap();
        }
        edit(&broken, file, from, to);
        if let Err(error) = wrong_project(&broken, says) {
            wrong.push(format!("{what}: {error}"));
        }
        std::fs::write(good, text).unwrap();
        let _ = std::fs::remove_file(broken.root().join("sql/scm/circle.sql"));
        let lost = differences(&before, &broken.tables_of(&["erp", "wms", "scm", "outbox"]));
        if !lost.is_empty() {
            wrong.push(format!("{what}: published {lost}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn an_unknown_status_code_fails_the_run_and_keeps_the_row() {
    let plant = settled();
    edit(&plant, LINES, "else 'closed' end", "when 'CLOSED' then 'closed' end");
    let before = plant.tables_of(&["erp", "wms", "scm", "outbox"]);
    plant.sql("erp", "update order_line set status = 'MAYBE' where order_no = 'S3'");
    let said = plant.loopline(&["run", "loop"]);
    let text = format!("{}{}", said.stdout, said.stderr);
    assert_eq!(said.code, Some(1), "{text}");
    for part in ["erp.sales_order_lines", "status", "S3"] {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    let lost = differences(&before, &plant.tables_of(&["erp", "wms", "scm", "outbox"]));
    assert!(lost.is_empty(), "{lost}");
    // The pulled row is kept; with the code in the map the run goes on.
    edit(&plant, LINES, "when 'CLOSED' then 'closed' end", "when 'CLOSED' then 'closed' when 'MAYBE' then 'closed' end");
    let report = plant.json(&["run", "loop"]);
    assert_eq!(report["outcome"], "published", "{report:#}");
    assert_eq!(plant.ask("select status from erp.sales_order_lines where order_id = 'S3'")[0]["status"], "closed");
}
