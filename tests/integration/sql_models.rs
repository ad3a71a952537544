//! Hand-worked cases of the project's own models: `tests/sql/<schema>.<model>.txt`.
//!
//! A file gives rows of the tables that the model reads and the rows that it must yield:
//!
//! ```text
//! # why these rows, with the sum worked out by hand
//! now 2026-03-10T00:00:00Z
//!
//! given erp.suppliers
//! supplier_id | name
//! S1          | Stahl
//!
//! given scm.stock
//! item_id | nettable:decimal
//! A       | 5
//!
//! expect srm.supplier_scorecards
//! supplier_id | score
//! S1          | 50
//! ```
//!
//! `-` is null. Columns of contracts have the contract's types and may be left out (null); columns of models say theirs after a colon,
//! `text` otherwise. A contract that is not given is empty. Only the expected columns are compared; the order of rows does not count.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use loopline::base::TableName;
use loopline::project::{Contract, Project};

type Rows = Vec<Vec<String>>;

struct Case {
    now: Option<String>,
    given: BTreeMap<String, Rows>,
    model: String,
    expect: Rows,
}

#[tokio::test]
async fn models_yield_what_was_worked_out_by_hand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Project::load(root).unwrap();
    let mut files: Vec<_> = std::fs::read_dir(root.join("tests/sql")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for file in files {
        let case = read(&std::fs::read_to_string(&file).unwrap());
        let got = run(&project, &case).await;
        let expect = sorted(case.expect.iter().skip(1));
        if got != expect {
            wrong.push(format!("{}\n  got  {got:?}\n  want {expect:?}", case.model));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn read(text: &str) -> Case {
    let mut case = Case { now: None, given: BTreeMap::new(), model: String::new(), expect: Vec::new() };
    let mut rows: Option<&mut Rows> = None;
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if let Some(now) = line.strip_prefix("now ") {
            case.now = Some(now.trim().to_owned());
        } else if let Some(table) = line.strip_prefix("given ") {
            rows = Some(case.given.entry(table.trim().to_owned()).or_default());
        } else if let Some(table) = line.strip_prefix("expect ") {
            case.model = table.trim().to_owned();
            rows = Some(&mut case.expect);
        } else {
            let cells = line.split('|').map(|cell| cell.trim().to_owned()).collect();
            rows.as_mut().expect("a row needs a `given` or `expect` line before it").push(cells);
        }
    }
    case
}

async fn run(project: &Project, case: &Case) -> Rows {
    let context = SessionContext::new_with_config(SessionConfig::new().set_str("datafusion.execution.time_zone", "UTC"));
    let mut tables: BTreeMap<String, SchemaRef> = BTreeMap::new();
    for contract in project.contracts.values() {
        tables.insert(contract.table.to_string(), contract_schema(project, contract, false));
        let mapped = format!("mapped.{}__{}", contract.table.schema, contract.table.name);
        tables.insert(mapped, contract_schema(project, contract, true));
    }
    for (table, rows) in &case.given {
        tables.entry(table.clone()).or_insert_with(|| model_schema(&rows[0]));
    }
    let catalog = context.catalog("datafusion").unwrap();
    for (table, schema) in tables {
        let (schema_name, name) = table.split_once('.').unwrap();
        if catalog.schema(schema_name).is_none() {
            catalog.register_schema(schema_name, Arc::new(MemorySchemaProvider::new())).unwrap();
        }
        let batch = batch(&table, &schema, case.given.get(&table));
        let memory = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
        context.register_table(TableReference::partial(schema_name, name), Arc::new(memory)).unwrap();
    }
    let (schema, name) = case.model.split_once('.').unwrap();
    let model = &project.models[&TableName::new(schema, name)];
    let mut sql: String = model.file.text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    if let Some(now) = &case.now {
        sql = sql.replace("now()", &format!("cast('{now}' as timestamp(6) with time zone)"));
        sql = sql.replace("current_date", &format!("date '{}'", &now[..10]));
    }
    let batches = context.sql(&sql).await.unwrap_or_else(|error| panic!("{}: {error}", case.model)).collect().await;
    let batches = batches.unwrap_or_else(|error| panic!("{}: {error}", case.model));
    sorted(batches.iter().flat_map(|batch| rows_of(batch, &case.expect[0])).collect::<Rows>().iter())
}

fn contract_schema(project: &Project, contract: &Contract, mapped: bool) -> SchemaRef {
    let nullable = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let mut fields = vec![nullable("system", &DataType::Utf8)];
    fields.extend(contract.columns.iter().map(|column| nullable(&column.name, &column.data_type)));
    if !mapped {
        let resolved = |table: &TableName| project.models.contains_key(&TableName::new("xref", &table.name));
        let replaced = contract.columns.iter().filter(|column| column.references.as_ref().is_some_and(resolved));
        fields.extend(replaced.map(|column| nullable(&format!("source_{}", column.name), &DataType::Utf8)));
    }
    fields.extend(["source_id", "source_version"].map(|name| nullable(name, &DataType::Utf8)));
    fields.push(nullable("changed_at", &kind("timestamp")));
    if !mapped {
        fields.push(nullable("deleted", &DataType::Boolean));
    }
    Arc::new(Schema::new(fields))
}

fn model_schema(header: &[String]) -> SchemaRef {
    let field = |cell: &String| match cell.split_once(':') {
        Some((name, sql_type)) => Field::new(name, kind(sql_type), true),
        None => Field::new(cell, DataType::Utf8, true),
    };
    Arc::new(Schema::new(header.iter().map(field).collect::<Vec<_>>()))
}

fn kind(sql_type: &str) -> DataType {
    match sql_type {
        "text" => DataType::Utf8,
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "double" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "decimal" => DataType::Decimal128(18, 6),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        other => panic!("no type {other}"),
    }
}

fn batch(table: &str, schema: &SchemaRef, rows: Option<&Rows>) -> RecordBatch {
    let Some((header, rows)) = rows.and_then(|rows| rows.split_first()) else { return RecordBatch::new_empty(schema.clone()) };
    let names: Vec<&str> = header.iter().map(|cell| cell.split(':').next().unwrap()).collect();
    for name in &names {
        assert!(schema.column_with_name(name).is_some(), "{table} has no column {name}");
    }
    let column = |field: &Arc<Field>| -> ArrayRef {
        let Some(at) = names.iter().position(|name| name == field.name()) else {
            return new_null_array(field.data_type(), rows.len());
        };
        let cells: StringArray = rows.iter().map(|row| Some(row[at].as_str()).filter(|cell| *cell != "-")).collect();
        let typed = cast(&cells, field.data_type()).unwrap();
        assert_eq!(typed.null_count(), cells.null_count(), "{table}.{}: a cell is no {}", field.name(), field.data_type());
        typed
    };
    RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect()).unwrap()
}

fn rows_of(batch: &RecordBatch, header: &[String]) -> Rows {
    let texts: Vec<StringArray> = header
        .iter()
        .map(|name| {
            let column = batch.column_by_name(name).unwrap_or_else(|| panic!("the model has no column {name}"));
            cast(column, &DataType::Utf8).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone()
        })
        .collect();
    let cell = |text: &StringArray, row: usize| if text.is_null(row) { "-".to_owned() } else { text.value(row).to_owned() };
    (0..batch.num_rows()).map(|row| texts.iter().map(|text| cell(text, row)).collect()).collect()
}

/// Rows in one order and numbers in one spelling, rounded to six digits.
fn sorted<'r>(rows: impl Iterator<Item = &'r Vec<String>>) -> Rows {
    let spell = |cell: &String| match cell.parse::<f64>() {
        Ok(number) => ((number * 1e6).round() / 1e6).to_string(),
        Err(_) => cell.clone(),
    };
    let mut rows: Rows = rows.map(|row| row.iter().map(spell).collect()).collect();
    rows.sort();
    rows
}
