//! A connector folder: `connector.toml`, one `<schema>.<table>.sql` map for each contract it fills, one `write.<outbox>.sql` for each write.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono_tz::Tz;

use super::files::{CONTRACT_SCHEMAS, ConnectorFiles, is_identifier};
use super::names::Names;
use super::problems::{Problems, suggest};
use super::section::{Document, Located, Section};
use super::text::{self, time_zone};
use super::{SqlFile, Stream, stream};
use crate::base::{Operation, TableName};

/// How a product is read and written; shared by every system that runs this product.
#[derive(Debug)]
pub struct Connector {
    /// The folder's name.
    pub name: String,
    pub file: PathBuf,
    pub protocol: Protocol,
    pub time_zone: Option<Tz>,
    pub streams: BTreeMap<String, Stream>,
    /// Keyed by the outbox model's name (`purchase_requests`).
    pub writes: BTreeMap<String, Write>,
    /// Contract → the `select` that fills it. In a map a bare table name is one of this connector's streams.
    pub maps: BTreeMap<TableName, SqlFile>,
}

/// How to speak to a product. The implementations are in `connect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Whatever database the system's URL names: `sqlite:`, `postgres:` or `mysql:`.
    Sql,
    /// Files in a folder or bucket: a path, `file:`, `s3:`, `gs:` or `az:`.
    Files,
}

/// How a product takes the rows of one outbox model.
#[derive(Debug, Clone)]
pub struct Write {
    /// The outbox model's name, without schema.
    pub outbox: String,
    /// The stream whose source table is written; it is also what the next pull is compared with.
    pub resource: String,
    /// Columns of the resource that find one row; the write map yields all of them. All other columns it yields are fields to set,
    /// except those that start with `_` (`_reason`).
    pub key: Vec<String>,
    /// Column of the resource that stores the hub's own key: a row is the hub's own only if the ledger shows that the hub inserted it.
    /// Inserts and deletes need it; it is one of `key`.
    pub hub_key: Option<String>,
    /// Column that changes with every change of the row; compared before a write. The before-image of the fields is compared as well.
    pub version: Option<String>,
    pub operations: Vec<Operation>,
    /// Condition over the resource's columns under which the hub may still update or delete a row (`status = 'DRAFT'`). A row that no longer
    /// meets it was taken over by a person and is left alone.
    pub editable: Option<String>,
    pub map: SqlFile,
}

/// Reads one connector folder. `None` if anything in it that others rely on is wrong; what it is, is among the problems.
pub(super) fn read(name: &str, files: &ConnectorFiles, names: &Names, problems: &Problems) -> Option<Connector> {
    let toml = files.toml.as_ref()?;
    let document = Document::parse(&toml.path, &toml.text, 1, problems)?;
    let found_before = problems.count();
    let root = document.section();
    let protocol = root.required("protocol", "\"sql\"", root.word("protocol"));
    let time_zone = root.parsed("time_zone", time_zone).map(|zone| zone.value);
    let stream_names: Vec<String> = root.entries("stream").into_iter().map(|entry| entry.key.value).collect();
    let mut streams = BTreeMap::new();
    for entry in root.entries("stream") {
        if let Some(section) = entry.section("stream").filter(|section| identifier(section, &entry.key, "a stream"))
            && let Some(stream) = stream::read(&entry.key.value, section, protocol)
        {
            streams.insert(stream.name.clone(), stream);
        }
    }
    let mut writes = BTreeMap::new();
    let mut write_names = Vec::new();
    for entry in root.entries("write") {
        write_names.push(entry.key.value.clone());
        if protocol == Some(Protocol::Files) {
            root.problem(entry.key.line, "files cannot be written", Some("remove the [write.…] sections".into()));
        }
        if let Some(section) = entry.section("write")
            && let Some(write) = read_write(&entry.key, section, files, &stream_names, &streams, names)
        {
            writes.insert(write.outbox.clone(), write);
        }
    }
    root.finish();
    let maps = read_maps(files, &write_names, names, problems);
    if problems.count() > found_before {
        return None;
    }
    Some(Connector { name: name.into(), file: toml.path.clone(), protocol: protocol?, time_zone, streams, writes, maps })
}

/// Names of streams and outboxes become parts of table names around a `__`.
fn identifier(section: &Section, name: &Located<String>, what: &str) -> bool {
    let valid = is_identifier(&name.value) && !name.value.contains("__");
    if !valid {
        let hint = format!(
            "rename it, for example to \"{}\"; `table` holds the source's own name",
            super::files::to_identifier(&name.value)
        );
        section.problem(name.line, format!("{what} is named in lower case letters, digits and single _"), Some(hint));
    }
    valid
}

/// Texts without their lines.
pub(super) fn values(located: Vec<Located<String>>) -> Vec<String> {
    located.into_iter().map(|located| located.value).collect()
}

fn read_write(
    outbox: &Located<String>,
    section: Section,
    files: &ConnectorFiles,
    stream_names: &[String],
    streams: &BTreeMap<String, Stream>,
    names: &Names,
) -> Option<Write> {
    if !names.outboxes().any(|name| name == outbox.value) {
        let hint = suggest(&outbox.value, "outboxes", names.outboxes());
        let what = format!("there is no model sql/outbox/{}.sql", outbox.value);
        section.problem(outbox.line, what, hint);
    }
    let map = files.sql.get(&format!("write.{}", outbox.value)).cloned();
    if map.is_none() {
        let hint =
            format!("write the select that turns rows of outbox.{0} into this product's fields as write.{0}.sql", outbox.value);
        section.problem(outbox.line, format!("its map write.{}.sql is missing in this folder", outbox.value), Some(hint));
    }
    let resource = section.required("resource", "the stream whose table is written", section.text("resource"));
    if let Some(resource) = resource.as_ref().filter(|resource| !stream_names.contains(&resource.value)) {
        let hint = suggest(&resource.value, "streams", stream_names.iter().map(String::as_str));
        section.problem(resource.line, format!("resource \"{}\" is not a stream of this connector", resource.value), hint);
    }
    let key = section.required("key", "[\"id\"], the columns that find one row", section.some_texts("key"));
    let hub_key = section.text("hub_key");
    let version = section.text("version");
    let operations = read_operations(&section);
    check_hub_key(&section, key.as_deref(), hub_key.as_ref(), operations.as_deref());
    let editable = section.text("editable");
    if let Some(editable) = &editable
        && let Err(message) = text::expression(&editable.value)
    {
        section.problem(editable.line, format!("\"editable\" is not a condition: {message}"), None);
    }
    let stream = resource.as_ref().and_then(|resource| streams.get(&resource.value));
    let compared = key.iter().flatten().chain(&hub_key).chain(&version);
    for column in compared.filter(|column| stream.is_some_and(|stream| stream.exclude.contains(&column.value))) {
        let what = format!("column \"{}\" is compared with the target, but the stream excludes it", column.value);
        section.problem(column.line, what, Some("remove it from the stream's `exclude`".into()));
    }
    section.finish();
    Some(Write {
        outbox: outbox.value.clone(),
        resource: resource?.value,
        key: values(key?),
        hub_key: hub_key.map(|key| key.value),
        version: version.map(|version| version.value),
        operations: operations?,
        editable: editable.map(|condition| condition.value),
        map: map?,
    })
}

fn read_operations(section: &Section) -> Option<Vec<Operation>> {
    let example = "[\"update\"], what the hub may do: insert, update, delete";
    let words = section.required("operations", example, section.some_texts("operations"))?;
    words.iter().map(|operation| section.word_of("operations", operation)).collect()
}

/// Rows that the hub makes or removes must be known as its own, by a key that the target stores.
fn check_hub_key(
    section: &Section,
    key: Option<&[Located<String>]>,
    hub_key: Option<&Located<String>>,
    operations: Option<&[Operation]>,
) {
    match (hub_key, key) {
        (Some(hub_key), Some(key)) if !key.iter().any(|column| column.value == hub_key.value) => {
            let known = key.iter().map(|column| column.value.as_str());
            let hint = suggest(&hub_key.value, "key columns", known);
            section.problem(hub_key.line, format!("hub_key \"{}\" is not one of `key`", hub_key.value), hint);
        }
        (None, _) if !section.has("hub_key") => {
            let owning = operations.unwrap_or_default().iter().find(|operation| **operation != Operation::Update);
            if owning.is_some() {
                let hint = "name the column that stores the hub's own key, or allow only \"update\"";
                section.problem(section.line, "\"hub_key\" is missing, and inserts and deletes need it", Some(hint.into()));
            }
        }
        _ => {}
    }
}

fn read_maps(files: &ConnectorFiles, writes: &[String], names: &Names, problems: &Problems) -> BTreeMap<TableName, SqlFile> {
    let mut maps = BTreeMap::new();
    for (stem, file) in &files.sql {
        if text::header_line(&file.text).is_some_and(|line| {
            problems.at(
                &file.path,
                line,
                "a map has no `--!` header",
                Some("only models have one; use `--` for a comment".into()),
            );
            true
        }) {
            continue;
        }
        if let Some(outbox) = stem.strip_prefix("write.") {
            if !writes.iter().any(|name| name == outbox) {
                let near = suggest(outbox, "writes", writes.iter().map(String::as_str));
                let hint = near.unwrap_or_else(|| format!("add [write.{outbox}] to connector.toml, or remove the file"));
                problems.at(&file.path, 1, format!("connector.toml has no [write.{outbox}]"), Some(hint));
            }
            continue;
        }
        match contract_of(stem, names) {
            Ok(contract) => drop(maps.insert(contract, file.clone())),
            Err((what, hint)) => problems.at(&file.path, 1, what, hint),
        }
    }
    maps
}

/// The contract that a map's file name says it fills.
fn contract_of(stem: &str, names: &Names) -> Result<TableName, (String, Option<String>)> {
    let table: TableName = stem.parse().map_err(|_| {
        let hint = "a map is <schema>.<contract>.sql, a write map write.<outbox>.sql";
        (format!("\"{stem}\" does not say what the file fills"), Some(hint.to_owned()))
    })?;
    if names.contracts.contains(&table) {
        return Ok(table);
    }
    let known: Vec<String> = names.contracts.iter().map(TableName::to_string).collect();
    let hint = suggest(stem, "contracts", known.iter().map(String::as_str));
    let what = match CONTRACT_SCHEMAS.contains(&table.schema.as_str()) {
        true => format!("there is no contract sql/{}/{}.sql", table.schema, table.name),
        false => format!("\"{}\" is not a schema of contracts ({})", table.schema, CONTRACT_SCHEMAS.join(", ")),
    };
    Err((what, hint))
}
