//! A stream of a connector: one `[stream.<name>]` section.

use std::collections::BTreeMap;
use std::time::Duration;

use super::connector::{Protocol, values};
use super::section::{Located, Section};
use super::source_files;
use super::text::{column_type, duration, interval};

/// How far before its last cursor a timestamp stream starts where the TOML is silent: longer than most transactions stay open.
const LOOKBACK_SECONDS: i64 = 300;

/// One table or resource of a product that is pulled.
#[derive(Debug, Clone)]
pub struct Stream {
    pub name: String,
    /// The source's own name, `schema.table` or `table`; the stream's name where the TOML is silent.
    pub table: String,
    /// Key columns in the source; never empty.
    pub key: Vec<String>,
    /// Without a cursor every pull reads the whole table and keeps the difference.
    pub cursor: Option<Cursor>,
    /// With a cursor: how often the whole table is read and compared all the same, which finds deletes and silent changes.
    pub sweep_every: Option<Duration>,
    pub mode: PullMode,
    /// Column that changes with every change of a row, compared by a sweep; the cursor's where the TOML is silent.
    pub version: Option<String>,
    /// How many rows may vanish between two readings of the whole table before someone is asked.
    pub removals: Removals,
    pub contract: StreamContract,
    /// Columns whose type is chosen here instead of derived from the source's.
    pub types: BTreeMap<String, ColumnType>,
    /// For a stream of files: which files, and their format.
    pub files: Option<Files>,
    /// Updates mark rows of old files as deleted instead of writing the files anew: cheaper to write, but not every engine reads it.
    pub deletion_vectors: bool,
    /// Columns to leave out (large, private or useless ones).
    pub exclude: Vec<String>,
}

impl Stream {
    /// A stream of which the TOML says no more than its key: read whole with every pull.
    pub fn new(name: &str, key: Vec<String>) -> Self {
        Self {
            name: name.into(),
            table: name.into(),
            key,
            cursor: None,
            sweep_every: None,
            mode: PullMode::Full,
            version: None,
            removals: Removals::Few,
            contract: StreamContract::default(),
            types: BTreeMap::new(),
            files: None,
            deletion_vectors: false,
            exclude: Vec::new(),
        }
    }
}

/// `removals = "any"`: rows of this table come and go (stock records, open items). Otherwise many that vanish at once look like a fault of the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Removals {
    /// More than 5 % stop the pull.
    #[default]
    Few,
    Any,
}

/// How a stream's rows come into its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullMode {
    /// Every pull reads the whole table and keeps the difference.
    Full,
    /// Rows at or after the cursor are merged by key.
    Incremental,
    /// Rows at or after the cursor are added; the source never changes or removes a row.
    Append,
}

/// What happens when a stream no longer looks as its table does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamContract {
    /// A column that the table does not have.
    pub new_columns: Policy,
    /// A column of the table that the source does not have any more.
    pub gone_columns: Policy,
    /// A column whose type became wider (`integer` to `long`).
    pub widened_types: Policy,
    /// A column whose type became another one.
    pub changed_types: Policy,
    /// A value that its column's type cannot hold exactly (a date `0000-00-00`, an infinite timestamp, a decimal with too many digits).
    pub values: Policy,
}

impl Default for StreamContract {
    fn default() -> Self {
        Self {
            new_columns: Policy::Evolve,
            gone_columns: Policy::Freeze,
            widened_types: Policy::Evolve,
            changed_types: Policy::Freeze,
            values: Policy::Freeze,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The table follows the source.
    Evolve,
    /// The pull of this stream is an error.
    Freeze,
    /// Rows that do not fit are left out and kept in `…__discarded` with the reason.
    DiscardRow,
    /// Values that do not fit are left out (null) and kept in `…__discarded` with the reason.
    DiscardValue,
}

/// A type that a connector chooses for a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// The source's text.
    Text,
    Integer,
    Long,
    /// The nearest double: digits may be lost, which is why it must be asked for.
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Boolean,
    Date,
    Timestamp,
}

/// Which files make a stream, and how to read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// A glob over paths below the system's address: `orders/*.csv`, `**/lot-?.parquet`.
    pub pattern: String,
    pub format: Format,
    /// CSV: the character between fields.
    pub delimiter: u8,
    /// CSV and Excel: whether the first row names the columns; otherwise they are `column_1`, `column_2`, ….
    pub has_header: bool,
    /// Excel: the sheet's name; the first where the TOML is silent.
    pub sheet: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Csv,
    /// One JSON object in each line.
    Jsonl,
    Excel,
    Parquet,
}

/// The column that orders changes of a stream.
#[derive(Debug, Clone)]
pub struct Cursor {
    pub field: String,
    pub kind: CursorKind,
    /// Each pull starts this far before the last cursor: seconds for instants, counts for integers.
    pub lookback: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CursorKind {
    Timestamp,
    Integer,
}

/// Reads one stream. What it gives is only used if nothing in the connector is wrong, so defaults may stand for what could not be read.
pub(super) fn read(name: &str, section: Section, protocol: Option<Protocol>) -> Option<Stream> {
    let files = source_files::of_stream(&section, protocol);
    let table = section.text("table").map_or_else(|| name.to_owned(), |table| table.value);
    let key = match (section.has("files"), section.has("key")) {
        (true, false) => {
            Some(source_files::KEY_DEFAULT.map(|column| Located { value: column.to_owned(), line: section.line }).into())
        }
        (true, true) => section.some_texts("key"),
        (false, _) => section.required("key", "[\"id\"], the columns that identify a row", section.some_texts("key")),
    };
    let cursor_section = section.table("cursor");
    let cursor_line = cursor_section.as_ref().map(|section| section.line);
    let cursor = cursor_section.and_then(read_cursor);
    let mode = match section.has("files") {
        true => section.word("mode").unwrap_or(PullMode::Incremental),
        false => read_mode(&section, cursor_line),
    };
    let sweep = section.parsed("sweep", interval);
    let version = section.text("version");
    let removals = section.word("removals").unwrap_or_default();
    let contract = read_contract(&section, files.as_ref().map(|files| files.format));
    let types = read_types(&section);
    let deletion_vectors = section.flag("deletion_vectors").unwrap_or_default();
    let exclude = section.texts("exclude").unwrap_or_default();
    if let Some(sweep) = sweep.as_ref().filter(|_| cursor_line.is_none() && files.is_none()) {
        let hint = "remove `sweep`: without a cursor every pull compares the whole table";
        section.problem(sweep.line, "\"sweep\" without a cursor has no effect", Some(hint.into()));
    }
    let identity =
        key.iter().flatten().map(|column| column.value.as_str()).chain(cursor.iter().map(|cursor| cursor.field.as_str()));
    let needed = identity
        .map(|column| (column, "is part of the key or the cursor"))
        .chain(version.iter().map(|version| (version.value.as_str(), "is the version")))
        .chain(types.keys().map(|column| (column.as_str(), "has a type of its own in `types`")));
    for (column, why) in needed {
        if let Some(excluded) = exclude.iter().find(|excluded| excluded.value == column) {
            let what = format!("column \"{column}\" {why} and cannot be excluded");
            section.problem(excluded.line, what, Some("remove it from `exclude`".into()));
        }
    }
    section.finish();
    Some(Stream {
        table,
        mode,
        cursor,
        sweep_every: sweep.map(|sweep| sweep.value),
        version: version.map(|version| version.value),
        removals,
        contract,
        types,
        files,
        deletion_vectors,
        exclude: values(exclude),
        ..Stream::new(name, values(key?))
    })
}

/// The mode, and whether it and the cursor go together.
fn read_mode(section: &Section, cursor_line: Option<usize>) -> PullMode {
    let usual = if cursor_line.is_some() { PullMode::Incremental } else { PullMode::Full };
    let Some(text) = section.text("mode") else { return usual };
    let Some(mode) = section.word_of("mode", &text) else { return usual };
    match (mode, cursor_line) {
        (PullMode::Full, Some(line)) => {
            let hint = "remove `cursor`, or `mode`: a stream with a cursor is incremental";
            section.problem(line, "\"cursor\" has no effect with mode = \"full\"", Some(hint.into()));
        }
        (PullMode::Incremental | PullMode::Append, None) => {
            let hint =
                "add cursor = { field = \"updated_at\" }, or remove `mode`: without a cursor every pull reads the whole table";
            section.problem(text.line, format!("mode = \"{}\" needs a cursor", text.value), Some(hint.into()));
        }
        _ => {}
    }
    mode
}

/// One policy for every difference, or a table of them.
fn read_contract(section: &Section, format: Option<Format>) -> StreamContract {
    let mut usual = StreamContract::default();
    if format == Some(Format::Jsonl) {
        usual.gone_columns = Policy::Evolve; // an object leaves out what it has no value for
    }
    if section.line_of_text("contract").is_some() {
        let Some(policy) = section.word("contract") else { return usual };
        // A value cannot evolve: what its column cannot hold stays an error.
        let values = if policy == Policy::Evolve { usual.values } else { policy };
        return StreamContract {
            new_columns: policy,
            gone_columns: policy,
            widened_types: policy,
            changed_types: policy,
            values,
        };
    }
    let Some(section) = section.table("contract") else { return usual };
    let contract = StreamContract {
        new_columns: section.word("new_columns").unwrap_or(usual.new_columns),
        gone_columns: section.word("gone_columns").unwrap_or(usual.gone_columns),
        widened_types: section.word("widened_types").unwrap_or(usual.widened_types),
        changed_types: section.word("changed_types").unwrap_or(usual.changed_types),
        values: section.text("values").and_then(|text| read_values(&section, &text)).unwrap_or(usual.values),
    };
    section.finish();
    contract
}

fn read_values(section: &Section, text: &Located<String>) -> Option<Policy> {
    let policy = section.word_of("values", text)?;
    if policy == Policy::Evolve {
        let hint = "write \"freeze\", \"discard_row\" or \"discard_value\", or choose a type that holds it: types = { column = \"text\" }";
        section.problem(text.line, "values: a column cannot evolve for a value that its type does not hold", Some(hint.into()));
    }
    Some(policy)
}

fn read_types(section: &Section) -> BTreeMap<String, ColumnType> {
    let mut types = BTreeMap::new();
    for entry in section.entries("types") {
        let Some(text) = entry.text() else { continue };
        match column_type(&text.value) {
            Ok(data_type) => drop(types.insert(entry.key.value.clone(), data_type)),
            Err(message) => section.problem(text.line, format!("types, {}: {message}", entry.key.value), None),
        }
    }
    types
}

fn read_cursor(section: Section) -> Option<Cursor> {
    let field = section.required("field", "\"updated_at\"", section.text("field"));
    // A wrong kind is found when the stream is opened, so assuming the usual one hides nothing.
    let kind = if section.has("kind") { section.word("kind") } else { Some(CursorKind::Timestamp) };
    let lookback = match kind {
        Some(CursorKind::Timestamp) => match section.parsed("lookback", duration) {
            Some(lookback) => i64::try_from(lookback.value.as_secs()).ok(),
            None => Some(LOOKBACK_SECONDS),
        },
        Some(CursorKind::Integer) => match section.count("lookback") {
            Some(lookback) => i64::try_from(lookback.value).ok(),
            None => Some(0),
        },
        None => {
            section.has("lookback"); // its type depends on the kind
            None
        }
    };
    section.finish();
    Some(Cursor { field: field?.value, kind: kind?, lookback: lookback? })
}
