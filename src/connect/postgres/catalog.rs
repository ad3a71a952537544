//! Tables, and how each column's type is read and written.
//!
//! | type | read as |
//! |---|---|
//! | `bool` | Boolean |
//! | `int2`, `int4` | Int32 |
//! | `int8` | Int64 |
//! | `float4`, `float8` | Float64 |
//! | `numeric(p,s)` | Decimal128(p, s); without digits (38, 10): a value that does not fit is a misfit; more than 38 digits are not read |
//! | `date` | Date32; infinity is a misfit |
//! | `timestamp`, `timestamptz` | Timestamp in UTC, the former read in the system's zone; infinity is a misfit |
//! | `bytea` | Binary |
//! | `text`, `varchar`, `name`, `"char"`, `citext`, enums, `json` | Utf8 |
//! | `char(n)` | Utf8 without the blanks that pad it |
//! | `uuid`, `jsonb`, `xml`, `time`, `timetz`, `interval`, `inet`, `cidr`, `macaddr`, `macaddr8`, `bit`, `varbit` | Utf8, the server's text |
//! | arrays | Utf8, as JSON; cannot be written |
//! | a domain | as the type it is made of |
//! | others (`money`, `point`, `hstore`, ranges, …) | not at all, unless the stream's `types` choose |
//!
//! A column whose type the stream's `types` choose is read through the server's text, where it is not read as that type anyway.

use std::sync::Arc;

use arrow::datatypes::DataType;
use chrono_tz::Tz;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, GenericClient};

use super::failure::failure;
use crate::connect::ConnectError;
use crate::connect::cells::instant_type;
use crate::connect::change::{quoted, quoted_table};
use crate::connect::chosen;
use crate::connect::error::{Place, nearest_name};
use crate::project::ColumnType;

/// Digits of a numeric column that declares none.
const OPEN_DECIMAL: (u8, i8) = (38, 10);
/// The server's number of `text`.
const TEXT_OID: u32 = 25;

/// A table or view.
pub(super) struct Table {
    /// Quoted, ready for a statement.
    pub(super) sql_name: String,
    pub(super) columns: Vec<Column>,
}

pub(super) struct Column {
    pub(super) name: String,
    /// As the server spells it, for messages.
    pub(super) type_name: String,
    /// The base type's name, to cast a text parameter to.
    pub(super) cast: String,
    /// The server's number of the base type.
    oid: u32,
    /// Digits after the second that a timestamp keeps.
    pub(super) fraction_digits: u32,
    /// `None`: a type that is not read.
    pub(super) kind: Option<Kind>,
}

/// The form in which a column's values arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Text,
    /// `char(n)`.
    PaddedText,
    /// Selected as the server's text.
    TextCast,
    /// An array, selected as JSON.
    Json,
    Numeric {
        precision: u8,
        scale: i8,
    },
    Date,
    /// In the clock of the system's zone.
    Timestamp,
    TimestampTz,
    Bytes,
    /// Selected as the server's text and read as the type that the connector chooses.
    Chosen(ColumnType),
}

impl Kind {
    /// How a column that is read as `natural` is read as the type that a connector chooses.
    fn chosen(natural: Option<Self>, choice: ColumnType) -> Self {
        match (natural, choice) {
            (Some(Self::Numeric { .. }), ColumnType::Decimal { precision, scale }) => Self::Numeric { precision, scale },
            (Some(kind @ (Self::Text | Self::PaddedText | Self::TextCast)), ColumnType::Text) => kind,
            (_, ColumnType::Text) => Self::TextCast,
            (Some(kind @ (Self::Int2 | Self::Int4)), ColumnType::Integer)
            | (Some(kind @ Self::Int8), ColumnType::Long)
            | (Some(kind @ (Self::Float4 | Self::Float8)), ColumnType::Double)
            | (Some(kind @ Self::Boolean), ColumnType::Boolean)
            | (Some(kind @ Self::Date), ColumnType::Date)
            | (Some(kind @ (Self::Timestamp | Self::TimestampTz)), ColumnType::Timestamp) => kind,
            (_, choice) => Self::Chosen(choice),
        }
    }

    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int2 | Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Float4 | Self::Float8 => DataType::Float64,
            Self::Text | Self::PaddedText | Self::TextCast | Self::Json => DataType::Utf8,
            Self::Numeric { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Date => DataType::Date32,
            Self::Timestamp | Self::TimestampTz => instant_type(),
            Self::Bytes => DataType::Binary,
            Self::Chosen(choice) => chosen::data_type(choice),
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
}

impl Column {
    /// How the column is read, or an error that names it; `zone` is what timestamps without zone are read in.
    pub(super) fn readable(
        &self,
        place: &Arc<Place>,
        zone: Option<Tz>,
        choice: Option<ColumnType>,
    ) -> Result<Kind, ConnectError> {
        match choice.map_or(self.kind, |choice| Some(Kind::chosen(self.kind, choice))) {
            Some(Kind::Timestamp) if zone.is_none() => {
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
        match kind {
            Kind::TextCast | Kind::Chosen(_) => format!("{name}::text"),
            Kind::Json => format!("to_json({name})::text"),
            _ => name,
        }
    }

    /// The server's number of the type of [`Self::selected`].
    pub(super) fn selected_oid(&self, kind: Kind) -> u32 {
        match kind {
            Kind::TextCast | Kind::Chosen(_) | Kind::Json => TEXT_OID,
            _ => self.oid,
        }
    }
}

/// Columns in order, each domain resolved to the type it is made of (which may be a domain again).
const COLUMNS: &str = "\
with recursive base(attnum, name, type_oid, typmod, shown) as (
  select a.attnum, a.attname, a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod)
  from pg_catalog.pg_attribute a
  where a.attrelid = pg_catalog.to_regclass($1::text) and a.attnum > 0 and not a.attisdropped
  union all
  select b.attnum, b.name, t.typbasetype, t.typtypmod, b.shown
  from base b join pg_catalog.pg_type t on t.oid = b.type_oid where t.typtype = 'd'
)
select b.name::text, t.typname::text, t.typtype::text, t.typcategory::text, b.typmod, b.shown,
  pg_catalog.format_type(b.type_oid, -1), b.type_oid
from base b join pg_catalog.pg_type t on t.oid = b.type_oid
where t.typtype <> 'd' order by b.attnum";

/// Looks `table` up, in `schema` if the table's name holds none.
pub(super) async fn describe(
    client: &impl GenericClient,
    place: &Arc<Place>,
    schema: Option<&str>,
    table: &str,
) -> Result<Table, ConnectError> {
    let fail = |error| failure(&place.system, &format!("looking up table \"{table}\""), error);
    let sql_name = match schema {
        Some(schema) if !table.contains('.') => format!("{}.{}", quoted(schema), quoted(table)),
        _ => quoted_table(table),
    };
    let rows = client.query_typed(COLUMNS, &[(&sql_name, Type::TEXT)]).await.map_err(fail)?;
    if rows.is_empty() {
        let exists = "select pg_catalog.to_regclass($1::text) is not null";
        let exists: bool =
            client.query_typed_one(exists, &[(&sql_name, Type::TEXT)]).await.map_err(fail)?.try_get(0).map_err(fail)?;
        let tables = table_names(client, schema).await.map_err(fail)?;
        // The name is looked up in the newest catalog, the columns and the list of tables in that of the snapshot.
        if exists || tables.iter().any(|name| name == table) {
            let what = format!("table \"{table}\" was dropped or made anew after this pull began");
            return Err(ConnectError::Changed { place: Arc::clone(place), what });
        }
        let nearest = nearest_name(table, tables.iter().map(String::as_str));
        return Err(ConnectError::NoTable { place: Arc::clone(place), table: table.into(), nearest });
    }
    let columns = rows.iter().map(column).collect::<Result<_, _>>().map_err(fail)?;
    Ok(Table { sql_name, columns })
}

fn column(row: &tokio_postgres::Row) -> Result<Column, tokio_postgres::Error> {
    let (base, class, category): (&str, &str, &str) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let typmod: i32 = row.try_get(4)?;
    Ok(Column {
        name: row.try_get(0)?,
        type_name: row.try_get(5)?,
        cast: row.try_get(6)?,
        oid: row.try_get(7)?,
        fraction_digits: u32::try_from(typmod).map_or(6, |digits| digits.min(6)),
        kind: kind_of(base, class, category, typmod),
    })
}

/// Tables and views as they can be named: bare in `schema`, or without it where the search path finds them.
async fn table_names(client: &impl GenericClient, schema: Option<&str>) -> Result<Vec<String>, tokio_postgres::Error> {
    let sql = "select case when coalesce(n.nspname = $1::text, pg_catalog.pg_table_is_visible(c.oid)) then c.relname::text
            else n.nspname || '.' || c.relname end
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'v', 'm', 'p', 'f') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') order by 1";
    client.query_typed(sql, &[(&schema, Type::TEXT)]).await?.iter().map(|row| row.try_get(0)).collect()
}

/// `class` and `category` are pg_type's: `e` an enum, `A` an array.
fn kind_of(base: &str, class: &str, category: &str, typmod: i32) -> Option<Kind> {
    Some(match (base, class, category) {
        (_, "e", _) => Kind::Text,
        (_, _, "A") => Kind::Json,
        ("bool", ..) => Kind::Boolean,
        ("int2", ..) => Kind::Int2,
        ("int4", ..) => Kind::Int4,
        ("int8", ..) => Kind::Int8,
        ("float4", ..) => Kind::Float4,
        ("float8", ..) => Kind::Float8,
        ("text" | "varchar" | "char" | "name" | "json" | "citext", ..) => Kind::Text,
        ("bpchar", ..) => Kind::PaddedText,
        ("uuid" | "jsonb" | "xml" | "time" | "timetz" | "interval", ..)
        | ("inet" | "cidr" | "macaddr" | "macaddr8" | "bit" | "varbit", ..) => Kind::TextCast,
        ("numeric", ..) => numeric(typmod)?,
        ("date", ..) => Kind::Date,
        ("timestamp", ..) => Kind::Timestamp,
        ("timestamptz", ..) => Kind::TimestampTz,
        ("bytea", ..) => Kind::Bytes,
        _ => return None,
    })
}

/// `typmod` packs precision and a signed 11-bit scale, plus 4; −1 where neither is declared.
fn numeric(typmod: i32) -> Option<Kind> {
    if typmod < 4 {
        let (precision, scale) = OPEN_DECIMAL;
        return Some(Kind::Numeric { precision, scale });
    }
    let packed = typmod - 4;
    let (precision, scale) = ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024);
    // Scales below zero and above the precision are legal there, not in Arrow: a wider precision holds the same values.
    let (precision, scale) = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    (precision <= 38).then_some(Kind::Numeric { precision, scale })
}

/// The newest bound that the source can give for timestamp cursors: no transaction that is not in a snapshot taken after this call began before it.
///
/// It is the start of the oldest transaction that is open in this database, or now. Rows get `now()`, the start of their transaction, or a later
/// clock, so none can appear below it. An application that takes the time from its own clock before it begins a transaction, or whose clock is
/// behind the server's, can; the stream's lookback is for those. A clock ahead of the server's only makes the next pull start earlier than its
/// newest row. `None` where the bound is unknown: transactions of other users that this user may not see, or prepared ones.
pub(super) async fn oldest_open_transaction(client: &Client) -> Result<Option<i64>, tokio_postgres::Error> {
    let sql = "with mine as (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database()),
        other as (
          select a.pid, a.xact_start, a.query from pg_catalog.pg_stat_activity a, mine
          where a.datid = mine.oid and a.pid <> pg_catalog.pg_backend_pid() and a.backend_type is distinct from 'autovacuum worker')
        select
          (extract(epoch from least(pg_catalog.now(), (select min(xact_start) from other))) * 1000000)::bigint,
          exists (select from other o join pg_catalog.pg_locks l on l.pid = o.pid and l.locktype = 'virtualxid'
            where o.xact_start is null and o.query = '<insufficient privilege>')
          or exists (select from pg_catalog.pg_prepared_xacts where database = pg_catalog.current_database())";
    let row = client.query_typed_one(sql, &[]).await?;
    let (micros, unknown): (i64, bool) = (row.try_get(0)?, row.try_get(1)?);
    if unknown {
        tracing::warn!(
            "open transactions are hidden from the hub's user (grant pg_read_all_stats), so late commits are left to lookback and sweeps"
        );
    }
    Ok((!unknown).then_some(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_modifiers_become_arrow_decimals() {
        let typmod = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(numeric(typmod(18, 6)), Some(Kind::Numeric { precision: 18, scale: 6 }));
        assert_eq!(numeric(typmod(5, -2)), Some(Kind::Numeric { precision: 7, scale: 0 }));
        assert_eq!(numeric(typmod(2, 4)), Some(Kind::Numeric { precision: 4, scale: 4 }));
        assert_eq!(numeric(typmod(40, 2)), None);
        assert_eq!(numeric(-1), Some(Kind::Numeric { precision: 38, scale: 10 }));
    }
}
