//! Contracts of streams, end to end: the source is altered between two pulls in every way; what the table holds, what is left out, what is said.

use insta::assert_snapshot;

use crate::harness::{Mini, temporary};

const CONNECTOR: &str = "connectors/example/connector.toml";

/// The project that `loopline init` makes, its ERP with three items, pulled once.
struct Shop(Mini);

impl Shop {
    fn new(settings: &str) -> Self {
        let shop = Self(Mini::of(temporary()));
        assert_eq!(shop.0.loopline(&["init", "."]).code, Some(0));
        shop.set(settings);
        shop.0.sql(
            "erp",
            "create table items (id integer primary key, name text, unit text, stock integer, price decimal(12,2));
             insert into items values (1, 'Bolt', 'pc', 100, 0.25), (2, 'Frame', 'pc', 4, 99.5), (3, 'Paint', 'l', null, null)",
        );
        shop.run();
        shop
    }

    /// Adds lines to the stream, in place of those that were added before.
    fn set(&self, settings: &str) {
        let path = self.0.root().join(CONNECTOR);
        let text = std::fs::read_to_string(&path).unwrap();
        let kept = text.lines().filter(|line| !line.ends_with("# of this test")).collect::<Vec<_>>().join("\n");
        let added: String = settings.lines().map(|line| format!("\n{} # of this test", line.trim())).collect();
        std::fs::write(&path, kept.replace("[stream.items]", &format!("[stream.items]{added}"))).unwrap();
    }

    /// Pulls and publishes: what came in or why not, and the raw tables.
    fn run(&self) -> String {
        let said = self.0.loopline(&["run", "daily", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
        let stream = &report["pull"]["systems"][0]["streams"][0];
        let mut text = match stream["error"].as_str() {
            Some(error) => format!("error: {error}\nhint: {}\n", stream["hint"].as_str().unwrap_or_default()),
            None => format!(
                "{} new, {} changed, {} gone; left out: {} rows, {} values\n",
                stream["inserted"], stream["updated"], stream["deleted"], stream["discarded_rows"], stream["discarded_values"]
            ),
        };
        for (table, rows) in self.0.tables_of(&["raw"]) {
            text += &format!("{table}\n");
            text.extend(rows.iter().map(|row| format!("  {}\n", without_instant(row))));
        }
        text
    }

    fn after(&self, sql: &str) -> String {
        self.0.sql("erp", sql);
        self.run()
    }

    /// One alteration after the other, each with a row that does not fit what was there before and one that does.
    fn altered(&self) -> String {
        let steps = [
            ("new column", "alter table items add column note text; update items set note = 'fragile', name = 'Bolt M8' where id = 1; update items set name = 'Frame A' where id = 2".to_owned()),
            ("wider type", recreated("price decimal(16,4)", "update items set price = 0.125 where id = 1; update items set price = 98.5 where id = 2")),
            ("other type", recreated("stock text", "update items set stock = 'many' where id = 1; update items set stock = '5' where id = 2")),
            ("gone column", "alter table items drop column unit; update items set name = 'Nut' where id = 1; insert into items (id, name) values (4, 'Oil')".to_owned()),
        ];
        steps.iter().map(|(what, sql)| format!("== {what}: {}", self.after(sql))).collect()
    }
}

/// The statements that give a column of `items` another type, and what is done then.
fn recreated(column: &str, then: &str) -> String {
    let name = column.split(' ').next().unwrap();
    format!(
        "alter table items add column new_{column}; update items set new_{name} = {name}; alter table items drop column {name};
         alter table items rename column new_{name} to {name}; {then}"
    )
}

/// When an entry was made is the wall clock's.
fn without_instant(row: &str) -> String {
    let mut row: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(row).unwrap();
    row.remove("at");
    serde_json::to_string(&row).unwrap()
}

#[test]
fn the_table_follows_under_evolve() {
    assert_snapshot!(Shop::new("contract = \"evolve\"").altered(), @r#"
    == new column: 0 new, 2 changed, 0 gone; left out: 0 rows, 0 values
    raw.erp__items
      {"id":1,"name":"Bolt M8","note":"fragile","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame A","price":99.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    == wider type: 0 new, 2 changed, 0 gone; left out: 0 rows, 0 values
    raw.erp__items
      {"id":1,"name":"Bolt M8","note":"fragile","price":0.125,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame A","price":98.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    == other type: 0 new, 2 changed, 0 gone; left out: 0 rows, 0 values
    raw.erp__items
      {"id":1,"name":"Bolt M8","note":"fragile","price":0.125,"stock__text":"many","unit":"pc"}
      {"id":2,"name":"Frame A","price":98.5,"stock":5,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    == gone column: 1 new, 3 changed, 0 gone; left out: 0 rows, 0 values
    raw.erp__items
      {"id":1,"name":"Nut","note":"fragile","price":0.125,"stock__text":"many"}
      {"id":2,"name":"Frame A","price":98.5,"stock":5}
      {"id":3,"name":"Paint"}
      {"id":4,"name":"Oil"}
    "#);
}

#[test]
fn the_pull_is_an_error_under_freeze() {
    let shop = Shop::new("contract = \"freeze\"");
    assert_snapshot!(shop.altered(), @r#"
    == new column: error: system "erp", stream "items": contract: column "note" (text) is new
    hint: if the table shall follow: contract = { new_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is
    raw.erp__items
      {"id":1,"name":"Bolt","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame","price":99.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    == wider type: error: system "erp", stream "items": contract: column "price" became wider: it was decimal(12,2) and is now decimal(16,4); column "note" (text) is new
    hint: if the table shall follow: contract = { widened_types = "evolve", new_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is
    raw.erp__items
      {"id":1,"name":"Bolt","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame","price":99.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    == other type: error: system "erp", stream "items": contract: column "stock" has another type: it was long and is now text; column "price" became wider: it was decimal(12,2) and is now decimal(16,4); column "note" (text) is new
    hint: if the table shall follow: contract = { changed_types = "evolve", widened_types = "evolve", new_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is
    raw.erp__items
      {"id":1,"name":"Bolt","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame","price":99.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    == gone column: error: system "erp", stream "items": contract: column "unit" (text) is gone from the source; column "stock" has another type: it was long and is now text; column "price" became wider: it was decimal(12,2) and is now decimal(16,4); column "note" (text) is new
    hint: if the table shall follow: contract = { gone_columns = "evolve", changed_types = "evolve", widened_types = "evolve", new_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is
    raw.erp__items
      {"id":1,"name":"Bolt","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame","price":99.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    "#);
    let said = shop.0.loopline(&["pull"]);
    assert_eq!(said.code, Some(1));
    assert_snapshot!(said.stdout.lines().skip(3).collect::<Vec<_>>().join("\n"), @r#"
    erp.items could not be read: system "erp", stream "items": contract: column "unit" (text) is gone from the source; column "stock" has another type: it was long and is now text; column "price" became wider: it was decimal(12,2) and is now decimal(16,4); column "note" (text) is new
      hint: if the table shall follow: contract = { gone_columns = "evolve", changed_types = "evolve", widened_types = "evolve", new_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is
    "#);
}

#[test]
fn rows_are_left_out_under_discard_row() {
    assert_snapshot!(Shop::new("contract = \"discard_row\"").altered(), @r#"
    == new column: 0 new, 1 changed, 0 gone; left out: 1 rows, 0 values
    raw.erp__items
      {"id":1,"name":"Bolt","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame A","price":99.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    raw.erp__items__discarded
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.25\",\"stock\":100,\"unit\":\"pc\"}","value":"fragile"}
    == wider type: 0 new, 1 changed, 0 gone; left out: 1 rows, 0 values
    raw.erp__items
      {"id":1,"name":"Bolt","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame A","price":98.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    raw.erp__items__discarded
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.25\",\"stock\":100,\"unit\":\"pc\"}","value":"fragile"}
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.125\",\"stock\":100,\"unit\":\"pc\"}","value":"fragile"}
    == other type: 0 new, 1 changed, 0 gone; left out: 1 rows, 0 values
    raw.erp__items
      {"id":1,"name":"Bolt","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame A","price":98.5,"stock":5,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    raw.erp__items__discarded
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.25\",\"stock\":100,\"unit\":\"pc\"}","value":"fragile"}
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.125\",\"stock\":100,\"unit\":\"pc\"}","value":"fragile"}
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.125\",\"stock\":\"many\",\"unit\":\"pc\"}","value":"fragile"}
    == gone column: 0 new, 0 changed, 0 gone; left out: 4 rows, 0 values
    raw.erp__items
      {"id":1,"name":"Bolt","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame A","price":98.5,"stock":5,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    raw.erp__items__discarded
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.25\",\"stock\":100,\"unit\":\"pc\"}","value":"fragile"}
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.125\",\"stock\":100,\"unit\":\"pc\"}","value":"fragile"}
      {"column":"note","key":"id=1","reason":"the table does not have this column","row":"{\"id\":1,\"name\":\"Bolt M8\",\"note\":\"fragile\",\"price\":\"0.125\",\"stock\":\"many\",\"unit\":\"pc\"}","value":"fragile"}
      {"column":"unit","key":"id=1","reason":"the source does not have this column any more","row":"{\"id\":1,\"name\":\"Nut\",\"note\":\"fragile\",\"price\":\"0.125\",\"stock\":\"many\"}","value":""}
      {"column":"unit","key":"id=2","reason":"the source does not have this column any more","row":"{\"id\":2,\"name\":\"Frame A\",\"note\":null,\"price\":\"98.5\",\"stock\":\"5\"}","value":""}
      {"column":"unit","key":"id=3","reason":"the source does not have this column any more","row":"{\"id\":3,\"name\":\"Paint\",\"note\":null,\"price\":null,\"stock\":null}","value":""}
      {"column":"unit","key":"id=4","reason":"the source does not have this column any more","row":"{\"id\":4,\"name\":\"Oil\",\"note\":null,\"price\":null,\"stock\":null}","value":""}
    "#);
}

#[test]
fn values_are_left_out_under_discard_value() {
    assert_snapshot!(Shop::new("contract = \"discard_value\"").altered(), @r#"
    == new column: 0 new, 2 changed, 0 gone; left out: 0 rows, 1 values
    raw.erp__items
      {"id":1,"name":"Bolt M8","price":0.25,"stock":100,"unit":"pc"}
      {"id":2,"name":"Frame A","price":99.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    raw.erp__items__discarded
      {"column":"note","key":"id=1","reason":"the table does not have this column","value":"fragile"}
    == wider type: 0 new, 2 changed, 0 gone; left out: 0 rows, 2 values
    raw.erp__items
      {"id":1,"name":"Bolt M8","stock":100,"unit":"pc"}
      {"id":2,"name":"Frame A","price":98.5,"stock":4,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    raw.erp__items__discarded
      {"column":"note","key":"id=1","reason":"the table does not have this column","value":"fragile"}
      {"column":"price","key":"id=1","reason":"not exactly decimal(12,2); the source's type is decimal(16,4) now","value":"0.125"}
    == other type: 0 new, 2 changed, 0 gone; left out: 0 rows, 3 values
    raw.erp__items
      {"id":1,"name":"Bolt M8","unit":"pc"}
      {"id":2,"name":"Frame A","price":98.5,"stock":5,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    raw.erp__items__discarded
      {"column":"note","key":"id=1","reason":"the table does not have this column","value":"fragile"}
      {"column":"price","key":"id=1","reason":"not exactly decimal(12,2); the source's type is decimal(16,4) now","value":"0.125"}
      {"column":"stock","key":"id=1","reason":"not exactly long; the source's type is text now","value":"many"}
    == gone column: 1 new, 3 changed, 0 gone; left out: 0 rows, 3 values
    raw.erp__items
      {"id":1,"name":"Nut"}
      {"id":2,"name":"Frame A","price":98.5,"stock":5}
      {"id":3,"name":"Paint"}
      {"id":4,"name":"Oil"}
    raw.erp__items__discarded
      {"column":"note","key":"id=1","reason":"the table does not have this column","value":"fragile"}
      {"column":"price","key":"id=1","reason":"not exactly decimal(12,2); the source's type is decimal(16,4) now","value":"0.125"}
      {"column":"stock","key":"id=1","reason":"not exactly long; the source's type is text now","value":"many"}
      {"column":"unit","key":"","reason":"the source does not have this column any more: its values are null from now on","value":""}
    "#);
}

#[test]
fn a_row_that_was_left_out_is_taken_once_the_contract_lets_it() {
    let shop = Shop::new("contract = { new_columns = \"discard_row\" }");
    let left_out = shop.after("alter table items add column note text; insert into items values (4, 'Oil', 'l', 1, 5, 'burns'), (5, 'Nut', 'pc', 9, 1, null)");
    assert!(left_out.starts_with("1 new, 0 changed, 0 gone; left out: 1 rows, 0 values\n"), "{left_out}");
    let said = shop.0.loopline(&["pull"]);
    assert!(
        said.stdout.contains("erp.items: 1 row left out by the stream's contract, see raw.erp__items__discarded"),
        "{said:?}"
    );
    let said = shop.0.loopline(&["status"]);
    assert!(said.stdout.contains("\nerp.items: 1 row left out by the stream's contract"), "{said:?}");
    let again = shop.run();
    assert_eq!(again.matches("does not have this column").count(), 1, "what is known is not noted again: {again}");

    // SQL sees what was left out; maps do not.
    let asked = shop.0.ask("select \"key\", \"column\", \"value\", \"row\" from raw.erp__items__discarded");
    let row = "{\"id\":4,\"name\":\"Oil\",\"note\":\"burns\",\"price\":\"5\",\"stock\":1,\"unit\":\"l\"}";
    assert_eq!(asked, [serde_json::json!({ "key": "id=4", "column": "note", "value": "burns", "row": row })]);
    let map = shop.0.root().join("connectors/example/erp.items.sql");
    std::fs::write(&map, std::fs::read_to_string(&map).unwrap().replace("from items", "from items__discarded")).unwrap();
    let said = shop.0.loopline(&["check", "--offline"]);
    assert!(said.code == Some(1) && said.stderr.contains("items__discarded"), "{said:?}");
    std::fs::write(&map, std::fs::read_to_string(&map).unwrap().replace("from items__discarded", "from items")).unwrap();

    shop.set("");
    let taken = shop.run();
    assert!(taken.starts_with("1 new, 0 changed, 0 gone; left out: 0 rows, 0 values\n"), "{taken}");
    assert_eq!(shop.0.ask("select note from raw.erp__items where id = 4"), [serde_json::json!({ "note": "burns" })]);
}

#[test]
fn rows_that_are_left_out_are_not_gone_but_others_are() {
    let shop = Shop::new("contract = { changed_types = \"discard_row\" }");
    let text =
        shop.after(&recreated("stock text", "update items set stock = 'many' where id = 1; delete from items where id = 2"));
    assert!(text.starts_with("0 new, 0 changed, 1 gone; left out: 1 rows, 0 values\n"), "{text}");
    assert_eq!(shop.0.ask("select id, stock from raw.erp__items order by id").len(), 2, "{text}");
}

#[test]
fn a_key_is_never_cast() {
    let shop = Shop::new("contract = \"evolve\"");
    let said = shop.after(
        "create table other (id text primary key, name text, unit text, stock integer, price decimal(12,2));
         insert into other select '0' || id, name, unit, stock, price from items; drop table items; alter table other rename to items",
    );
    assert_snapshot!(said.lines().take(2).collect::<Vec<_>>().join("\n"), @r#"
    error: system "erp", stream "items": contract: column "id", part of the key, has another type: it was long and is now text
    hint: restore it in the source, or delete the table's folder so that the next pull reads it anew
    "#);
}

#[test]
fn types_that_the_stream_chooses_are_read_exactly_or_refused() {
    let shop = Shop::new("types = { price = \"double\", stock = \"decimal(5,1)\", name = \"text\", id = \"integer\" }");
    assert_snapshot!(shop.after("update items set stock = 2.5, name = 7, price = 0.1 where id = 1"), @r#"
    0 new, 1 changed, 0 gone; left out: 0 rows, 0 values
    raw.erp__items
      {"id":1,"name":"7","price":0.1,"stock":2.5,"unit":"pc"}
      {"id":2,"name":"Frame","price":99.5,"stock":4.0,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    "#);
    let schema = shop.0.ask(
        "select arrow_typeof(id) as id, arrow_typeof(stock) as stock, arrow_typeof(price) as price from raw.erp__items limit 1",
    );
    assert_snapshot!(schema[0].to_string(), @r#"{"id":"Int32","price":"Float64","stock":"Decimal128(5, 1)"}"#);
    assert_snapshot!(shop.after("update items set stock = 1.25 where id = 2"), @r#"
    error: table raw.erp__items: cannot read the rows to store: system "erp", stream "items", column "stock", row id=2: "1.25" is not exactly decimal(5,1)
    hint: correct the row in the source, or say in connector.toml what to do: types = { stock = "text" }, or contract = { values = "discard_row" }, or add "stock" to the stream's `exclude`
    raw.erp__items
      {"id":1,"name":"7","price":0.1,"stock":2.5,"unit":"pc"}
      {"id":2,"name":"Frame","price":99.5,"stock":4.0,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    "#);
    assert_snapshot!(shop.after("update items set stock = 1, id = 3000000000 where id = 2"), @r#"
    error: table raw.erp__items: cannot read the rows to store: system "erp", stream "items", column "id", row id=?: "3000000000" is not exactly an integer of 32 bits
    hint: correct the row in the source, or say in connector.toml what to do: types = { id = "text" }, or contract = { values = "discard_row" }, or add "id" to the stream's `exclude`
    raw.erp__items
      {"id":1,"name":"7","price":0.1,"stock":2.5,"unit":"pc"}
      {"id":2,"name":"Frame","price":99.5,"stock":4.0,"unit":"pc"}
      {"id":3,"name":"Paint","unit":"l"}
    "#);
    let numbers = "create table codes (id integer primary key, code text, flag text, amount text);
                   insert into codes values (1, '12', 'true', '1e3'), (2, ' 7 ', 'f', '0.5')";
    let path = shop.0.root().join(CONNECTOR);
    let connector = std::fs::read_to_string(&path).unwrap();
    let stream =
        "[stream.codes]\nkey = [\"id\"]\ntypes = { code = \"long\", flag = \"boolean\", amount = \"double\" }\n\n[stream.items]";
    std::fs::write(&path, connector.replace("[stream.items]", stream)).unwrap();
    shop.after(numbers);
    let rows = shop.0.ask("select code, flag, amount from raw.erp__codes order by id");
    let expected = [
        serde_json::json!({ "code": 12, "flag": true, "amount": 1_000.0 }),
        serde_json::json!({ "code": 7, "flag": false, "amount": 0.5 }),
    ];
    assert_eq!(rows, expected);
    let wrong = shop.after("update codes set code = 'twelve' where id = 1");
    assert!(wrong.contains("column \"code\", row id=1: \"twelve\" is not exactly an integer of 64 bits"), "{wrong}");
}
