//! Tables and the types of their columns.
//!
//! | declared type contains | read as |
//! |---|---|
//! | `BOOL` | Boolean (stored 0 or 1) |
//! | `INT` (but not `INTERVAL`, `POINT`) | Int64 |
//! | `DECIMAL(p,s)`, `NUMERIC(p,s)` | Decimal128(p, s); without digits (38, 10) |
//! | `REAL`, `FLOA`, `DOUB` | Float64 |
//! | `DATETIME`, `TIMESTAMP` | Timestamp in UTC, from ISO text |
//! | `DATE` | Date32, from ISO text |
//! | `BLOB` | Binary |
//! | anything else, or nothing | Utf8 |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use rusqlite::{Connection, OptionalExtension};

use super::failure;
use super::keys::has_one_form;
use crate::connect::cells::instant_type;
use crate::connect::change::{quoted, quoted_table};
use crate::connect::error::{Place, nearest_name};
use crate::connect::{ConnectError, chosen};
use crate::project::ColumnType;

/// Digits of a decimal column that declares none.
const OPEN_DECIMAL: DataType = DataType::Decimal128(38, 10);

/// A table or view as its declaration describes it.
pub(super) struct Table {
    /// Quoted, ready for a statement.
    pub(super) sql_name: String,
    pub(super) columns: Vec<Column>,
}

pub(super) struct Column {
    pub(super) name: String,
    /// As the table declares it.
    pub(super) declared: String,
    /// `None`: nothing that can be read.
    pub(super) data_type: Option<DataType>,
    /// Whether the connector chose the type.
    is_chosen: bool,
}

impl Table {
    /// Takes the types that a connector chose in place of the declared ones.
    pub(super) fn choose(&mut self, types: &BTreeMap<String, ColumnType>) {
        for column in &mut self.columns {
            if let Some(choice) = types.get(&column.name) {
                (column.data_type, column.is_chosen) = (Some(chosen::data_type(*choice)), true);
            }
        }
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }
}

impl Column {
    /// Whether no two values that it stores are read as one.
    pub(super) fn has_one_form(&self) -> bool {
        !self.is_chosen && has_one_form(&self.declared, self.data_type.as_ref())
    }

    /// The column's type, or an error that names it.
    pub(super) fn readable(&self, place: &Arc<Place>) -> Result<&DataType, ConnectError> {
        self.data_type.as_ref().ok_or_else(|| ConnectError::UnknownType {
            place: Arc::clone(place),
            column: self.name.clone(),
            type_name: self.declared.clone(),
        })
    }
}

/// Looks `table` up.
pub(super) fn describe(connection: &Connection, place: &Arc<Place>, table: &str) -> Result<Table, ConnectError> {
    let fail = |error| failure(&place.system, &format!("looking up table \"{table}\""), error);
    let (schema, name) = table.split_once('.').unwrap_or(("main", table));
    // SQLite itself takes names in any case; the columns are what a misspelt schema lacks.
    let mut statement =
        connection.prepare("select name, type from pragma_table_xinfo(?1, ?2) where hidden <> 1 order by cid").map_err(fail)?;
    let columns = statement
        .query_map([name, schema], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let columns = match columns {
        Ok(columns) => columns,
        Err(_) if schema != "main" => Vec::new(),
        Err(error) => return Err(fail(error)),
    };
    if columns.is_empty() {
        let tables = table_names(connection).map_err(fail)?;
        let nearest = nearest_name(name, tables.iter().map(String::as_str));
        return Err(ConnectError::NoTable { place: Arc::clone(place), table: table.into(), nearest });
    }
    let column = |(name, declared): (String, String)| Column { name, data_type: type_of(&declared), declared, is_chosen: false };
    Ok(Table { sql_name: quoted_table(table), columns: columns.into_iter().map(column).collect() })
}

/// Whether the table itself keeps two rows from having one key: by a primary key or a unique index over columns of `key`. Nulls, which an index allows
/// several times, are refused in a key anyway.
pub(super) fn is_unique(
    connection: &Connection,
    place: &Arc<Place>,
    found: &Table,
    table: &str,
    key: &[String],
) -> Result<bool, ConnectError> {
    let (schema, name) = table.split_once('.').unwrap_or(("main", table));
    let sql = "select 'primary key', name from pragma_table_xinfo(?1, ?2) where pk > 0
               union all
               select 'index ' || list.name, columns.name
               from pragma_index_list(?1, ?2) list join pragma_index_xinfo(list.name, ?2) columns
               where list.\"unique\" and not list.partial and columns.key";
    let read = || {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([name, schema], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)))?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    };
    let rows = read().map_err(|error| failure(&place.system, &format!("looking up the keys of table \"{table}\""), error))?;
    let mut constraints: BTreeMap<String, bool> = BTreeMap::new();
    for (constraint, column) in rows {
        // An index over an expression has no column.
        let column = column.filter(|column| key.contains(column)).and_then(|column| found.column(&column));
        *constraints.entry(constraint).or_insert(true) &= column.is_some_and(Column::has_one_form);
    }
    Ok(constraints.into_values().any(|holds| holds))
}

/// Rows of a table by its statistics, or by its highest row number; `None` if neither is at hand.
pub(super) fn rows_expected(connection: &Connection, table: &str) -> Option<u64> {
    let (schema, name) = table.split_once('.').unwrap_or(("main", table));
    let schema = quoted(schema);
    let counted = format!("select stat from {schema}.sqlite_stat1 where tbl = ?1 collate nocase limit 1");
    let stat: Option<String> = connection.query_row(&counted, [name], |row| row.get(0)).ok();
    if let Some(rows) = stat.and_then(|stat| stat.split(' ').next()?.parse().ok()) {
        return Some(rows);
    }
    let is_table = format!("select 1 from {schema}.sqlite_schema where type = 'table' and name = ?1 collate nocase");
    connection.query_row(&is_table, [name], |_| Ok(())).ok()?;
    // One look at the end of the tree; a table without row numbers refuses.
    let highest = format!("select max(rowid) from {schema}.{}", quoted(name));
    let rows: Option<i64> = connection.query_row(&highest, [], |row| row.get(0)).ok()?;
    rows.and_then(|rows| u64::try_from(rows).ok())
}

fn table_names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "select name from sqlite_schema where type in ('table', 'view') and name not like 'sqlite\\_%' escape '\\' order by name",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Any one text that a column holds, to learn in which form it is written.
pub(super) fn sample_text(connection: &Connection, table: &Table, quoted_column: &str) -> rusqlite::Result<Option<String>> {
    let sql = format!("select {quoted_column} from {} where typeof({quoted_column}) = 'text' limit 1", table.sql_name);
    connection.query_row(&sql, [], |row| row.get(0)).optional()
}

/// The type that a declared type means; `None` for decimals that do not fit 128 bits.
fn type_of(declared: &str) -> Option<DataType> {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    Some(if has("BOOL") {
        DataType::Boolean
    } else if has("INT") && !has("INTERVAL") && !has("POINT") {
        DataType::Int64
    } else if has("DECIMAL") || has("NUMERIC") {
        return decimal(&declared);
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        DataType::Float64
    } else if has("DATETIME") || has("TIMESTAMP") {
        instant_type()
    } else if has("DATE") {
        DataType::Date32
    } else if has("BLOB") {
        DataType::Binary
    } else {
        DataType::Utf8
    })
}

fn decimal(declared: &str) -> Option<DataType> {
    let Some((_, digits)) = declared.split_once('(') else { return Some(OPEN_DECIMAL) };
    let (precision, scale) =
        digits.trim_end().strip_suffix(')')?.split_once(',').unwrap_or((digits.trim_end().strip_suffix(')')?, "0"));
    let precision: u8 = precision.trim().parse().ok().filter(|digits| (1..=38).contains(digits))?;
    let scale: u8 = scale.trim().parse().ok().filter(|digits| *digits <= precision)?;
    Some(DataType::Decimal128(precision, i8::try_from(scale).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_decide() {
        let cases = [
            ("INTEGER", Some(DataType::Int64)),
            ("unsigned big int", Some(DataType::Int64)),
            ("interval", Some(DataType::Utf8)),
            ("boolean", Some(DataType::Boolean)),
            ("DECIMAL(18, 6)", Some(DataType::Decimal128(18, 6))),
            ("numeric(5)", Some(DataType::Decimal128(5, 0))),
            ("NUMERIC", Some(OPEN_DECIMAL)),
            ("DECIMAL(40,2)", None),
            ("DECIMAL(4,6)", None),
            ("double precision", Some(DataType::Float64)),
            ("datetime", Some(instant_type())),
            ("TIMESTAMP WITH TIME ZONE", Some(instant_type())),
            ("date", Some(DataType::Date32)),
            ("blob", Some(DataType::Binary)),
            ("varchar(20)", Some(DataType::Utf8)),
            ("", Some(DataType::Utf8)),
        ];
        for (declared, expected) in cases {
            assert_eq!(type_of(declared), expected, "{declared}");
        }
    }
}
