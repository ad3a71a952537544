//! Tables, and how each column's type is read and written.
//!
//! | type | read as |
//! |---|---|
//! | `tinyint`, `smallint`, `mediumint` (also unsigned), `int`, `year` | Int32; `tinyint(1)` too, since nothing keeps 2 out of it |
//! | `int unsigned`, `bigint` | Int64 |
//! | `bigint unsigned` | Decimal128(20, 0) |
//! | `decimal(p,s)` | Decimal128(p, s), up to 38 digits |
//! | `float`, `double` | Float64, exactly as stored |
//! | `bit(1)`; `bit(n)`; `bit(64)` | Boolean; Int64; Decimal128(20, 0) |
//! | `date` | Date32 |
//! | `datetime` | Timestamp in UTC, read in the system's zone |
//! | `timestamp` | Timestamp in UTC |
//! | `char`, `varchar`, `text`, `enum`, `set`, `json`, `uuid`, `inet4`, `inet6` | Utf8, converted from the column's character set |
//! | `time` | Utf8: it may be negative and longer than a day |
//! | `binary`, `varbinary`, `blob` | Binary |
//! | geometry, vectors, decimals of more than 38 digits | nothing, unless the stream chooses a type |
//!
//! A chosen type is read from the server's text of the value (bytes as hexadecimal, geometry as WKT), except doubles, which the server converts.

use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use mysql_async::prelude::Queryable;

use super::failure::failure;
use crate::connect::ConnectError;
use crate::connect::cells::instant_type;
use crate::connect::chosen;
use crate::connect::error::{Place, nearest_name};
use crate::project::ColumnType;

/// A table or view.
pub(super) struct Table {
    /// Quoted, ready for a statement.
    pub(super) sql_name: String,
    pub(super) columns: Vec<Column>,
    /// The engine of a table that knows no transactions; `None` for others and for views.
    pub(super) untransacted: Option<String>,
    /// The server's estimates; `None` for views.
    pub(super) rows: Option<u64>,
    pub(super) bytes: u64,
    /// Columns of each unique index that never hold null, the primary key first.
    pub(super) unique: Vec<Vec<String>>,
    pub(super) has_primary: bool,
}

pub(super) struct Column {
    pub(super) name: String,
    /// As the server spells it, for messages.
    pub(super) type_name: String,
    /// Without length and attributes.
    base: String,
    /// Digits after the second that a timestamp keeps.
    pub(super) fraction_digits: u32,
    /// `None`: a type that is not read.
    pub(super) kind: Option<Kind>,
}

/// The form in which a column's values arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int4,
    Int8,
    UnsignedInt8,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Bit,
    Bits,
    WideBits,
    Date,
    /// In the clock of the system's zone.
    Datetime,
    Timestamp,
    Text,
    /// Selected as the server's text.
    TextCast,
    Bytes,
    /// The stream's own choice, selected as the server's text.
    Chosen(ColumnType),
}

impl Kind {
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Int4 => DataType::Int32,
            Self::Int8 | Self::Bits => DataType::Int64,
            Self::UnsignedInt8 | Self::WideBits => DataType::Decimal128(20, 0),
            Self::Float | Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Bit => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Datetime | Self::Timestamp => instant_type(),
            Self::Text | Self::TextCast => DataType::Utf8,
            Self::Chosen(choice) => chosen::data_type(choice),
            Self::Bytes => DataType::Binary,
        }
    }
}

impl Table {
    pub(super) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The first column of the primary key, if it holds integers: rows can be split by it.
    pub(super) fn integer_key(&self) -> Option<&Column> {
        let first = self.unique.first().filter(|_| self.has_primary)?.first()?;
        self.column(first).filter(|column| matches!(column.kind, Some(Kind::Int4 | Kind::Int8 | Kind::UnsignedInt8)))
    }
}

impl Column {
    /// The column's kind, or an error that names it; `zone` is what timestamps without zone are read in.
    pub(super) fn readable(
        &self,
        place: &Arc<Place>,
        zone: Option<Tz>,
        choice: Option<ColumnType>,
    ) -> Result<Kind, ConnectError> {
        match choice.map(Kind::Chosen).or(self.kind) {
            Some(Kind::Datetime) if zone.is_none() => {
                Err(ConnectError::NoZone { place: Arc::clone(place), column: self.name.clone() })
            }
            Some(kind) => Ok(kind),
            None => Err(ConnectError::UnknownType {
                place: Arc::clone(place),
                column: self.name.clone(),
                type_name: self.type_name.clone(),
            }),
        }
    }

    /// The expression that selects the column in the form that `kind` decodes.
    pub(super) fn selected(&self, kind: Kind) -> String {
        let name = quoted(&self.name);
        match (kind, self.base.as_str()) {
            (Kind::Chosen(ColumnType::Double), _) => format!("({name} + 0e0)"),
            (Kind::Chosen(_), "bit") => format!("cast({name} + 0 as char)"),
            (Kind::Chosen(_), "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob") => {
                format!("lower(hex({name}))")
            }
            (Kind::Chosen(_), base) if is_geometry(base) => format!("st_astext({name})"),
            (Kind::Chosen(_) | Kind::TextCast, _) => format!("cast({name} as char)"),
            _ => name,
        }
    }
}

/// Quotes an identifier for SQL; the name may hold anything.
pub(super) fn quoted(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}

/// Looks `table` up, in `database` if the table's name holds none.
pub(super) async fn describe(
    client: &mut impl Queryable,
    place: &Arc<Place>,
    database: &str,
    table: &str,
) -> Result<Table, ConnectError> {
    let fail = |error| failure(&place.system, &format!("looking up table \"{table}\""), error);
    let (schema, name) = table.split_once('.').unwrap_or((database, table));
    // The server may compare names without regard to case, so each result is compared again.
    let sql = "select t.table_name, coalesce(e.transactions, 'YES'), t.engine, t.table_rows, t.data_length
        from information_schema.tables t left join information_schema.engines e on e.engine = t.engine
        where t.table_schema = ? and t.table_name = ?";
    type Found = (String, String, Option<String>, Option<u64>, Option<u64>);
    let found: Vec<Found> = client.exec(sql, (schema, name)).await.map_err(fail)?;
    let Some((_, transactions, engine, rows, bytes)) = found.into_iter().find(|found| found.0 == name) else {
        let sql = "select table_name from information_schema.tables where table_schema = ?";
        let tables: Vec<String> = client.exec(sql, (schema,)).await.map_err(fail)?;
        let nearest = nearest_name(name, tables.iter().map(String::as_str));
        return Err(ConnectError::NoTable { place: Arc::clone(place), table: table.into(), nearest });
    };
    let sql = "select table_name, column_name, data_type, column_type, numeric_precision, numeric_scale, datetime_precision
        from information_schema.columns where table_schema = ? and table_name = ? order by ordinal_position";
    type Described = (String, String, String, String, Option<u64>, Option<u64>, Option<u64>);
    let described: Vec<Described> = client.exec(sql, (schema, name)).await.map_err(fail)?;
    let columns =
        described.into_iter().filter(|column| column.0 == name).map(|(_, name, base, type_name, precision, scale, fraction)| {
            let digits = |digits: Option<u64>| digits.and_then(|digits| u8::try_from(digits).ok()).unwrap_or(0);
            let base = base.to_ascii_lowercase();
            let kind = kind_of(&base, &type_name.to_ascii_lowercase(), digits(precision), digits(scale));
            Column { name, type_name, base, fraction_digits: digits(fraction).into(), kind }
        });
    let columns = columns.collect();
    // An index over an expression has no column name there.
    let sql = "select table_name, index_name, column_name, nullable from information_schema.statistics
        where table_schema = ? and table_name = ? and non_unique = 0 order by index_name <> 'PRIMARY', index_name, seq_in_index";
    let parts: Vec<(String, String, Option<String>, Option<String>)> = client.exec(sql, (schema, name)).await.map_err(fail)?;
    let parts: Vec<_> = parts.into_iter().filter(|part| part.0 == name).collect();
    let indexes = parts.chunk_by(|a, b| a.1 == b.1);
    let never_null = |nullable: &Option<String>| nullable.as_ref().is_none_or(|nullable| nullable != "YES");
    let columns_of = |index: &[(String, String, Option<String>, Option<String>)]| {
        index.iter().map(|part| part.2.clone().filter(|_| never_null(&part.3))).collect::<Option<Vec<_>>>()
    };
    Ok(Table {
        sql_name: format!("{}.{}", quoted(schema), quoted(name)),
        columns,
        untransacted: engine.filter(|_| transactions != "YES"),
        rows,
        bytes: bytes.unwrap_or(0),
        unique: indexes.filter_map(columns_of).collect(),
        has_primary: parts.first().is_some_and(|part| part.1 == "PRIMARY"),
    })
}

fn kind_of(base: &str, type_name: &str, precision: u8, scale: u8) -> Option<Kind> {
    let is_unsigned = type_name.contains("unsigned");
    Some(match base {
        "tinyint" | "smallint" | "mediumint" | "year" => Kind::Int4,
        "int" if is_unsigned => Kind::Int8,
        "int" => Kind::Int4,
        "bigint" if is_unsigned => Kind::UnsignedInt8,
        "bigint" => Kind::Int8,
        "decimal" if precision <= 38 => Kind::Decimal { precision, scale: scale.cast_signed() },
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bit" => match precision {
            1 => Kind::Bit,
            2..=63 => Kind::Bits,
            _ => Kind::WideBits,
        },
        "date" => Kind::Date,
        "datetime" => Kind::Datetime,
        "timestamp" => Kind::Timestamp,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" | "json" | "uuid" | "inet4"
        | "inet6" => Kind::Text,
        "time" => Kind::TextCast,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Bytes,
        _ => return None,
    })
}

fn is_geometry(base: &str) -> bool {
    [
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geometrycollection",
        "geomcollection",
    ]
    .contains(&base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_hold_every_value_of_the_source() {
        let read = |base, type_name, precision, scale| kind_of(base, type_name, precision, scale).map(Kind::data_type);
        assert_eq!(read("tinyint", "tinyint(1)", 3, 0), Some(DataType::Int32));
        assert_eq!(read("mediumint", "mediumint(8) unsigned", 7, 0), Some(DataType::Int32));
        assert_eq!(read("int", "int(10) unsigned zerofill", 10, 0), Some(DataType::Int64));
        assert_eq!(read("bigint", "bigint unsigned", 20, 0), Some(DataType::Decimal128(20, 0)));
        assert_eq!(read("decimal", "decimal(38,30)", 38, 30), Some(DataType::Decimal128(38, 30)));
        assert_eq!(read("decimal", "decimal(39,0)", 39, 0), None);
        assert_eq!(read("bit", "bit(63)", 63, 0), Some(DataType::Int64));
        assert_eq!(read("bit", "bit(64)", 64, 0), Some(DataType::Decimal128(20, 0)));
        assert_eq!(read("point", "point", 0, 0), None);
    }

    #[test]
    fn identifiers_are_quoted_whatever_they_hold() {
        assert_eq!(quoted("a`b; drop table x"), "`a``b; drop table x`");
    }
}
