//! What the server's catalog says about a table as a whole: its size, what makes its rows unique, and where its rows lie.

use std::sync::Arc;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// Tables below this are read at once: a second connection costs more than it saves.
const SPLIT_BYTES_MIN: i64 = 64 << 20;
/// Ranges for each connection: the last ones to end should end together.
const RANGES_PER_CONNECTION: i64 = 16;
/// A statement for less than this is not worth its round trip; one for more keeps the others waiting at the end.
const RANGE_BYTES_MIN: i64 = 8 << 20;
const RANGE_BYTES_MAX: i64 = 256 << 20;

/// A table, view or the like.
pub(super) struct Relation {
    oid: u32,
    /// By the server's statistics.
    pub(super) rows: Option<u64>,
    /// Whether an index guarantees that no two rows have the same values in the columns that were asked about.
    pub(super) is_unique: bool,
    /// Whether an index finds rows by the column that was asked about.
    pub(super) has_index: bool,
    is_partitioned: bool,
    /// Whether the server can find rows by page and this user may ask for it; policies on rows belong to the table as it is named.
    may_split: bool,
}

/// Rows of a relation: all of `from`, or those that lie on its pages from the first up to the second, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    /// Quoted, ready for a statement.
    pub(super) from: Arc<str>,
    pub(super) pages: Option<(i64, Option<i64>)>,
}

/// Storage of a table without partitions, or of a partition.
struct Heap {
    sql_name: Arc<str>,
    pages: i64,
    is_heap: bool,
    may_read: bool,
}

/// Looks at `sql_name`, in particular at its `key` and at `cursor`.
pub(super) async fn describe(
    client: &Client,
    sql_name: &str,
    key: &[&str],
    cursor: Option<&str>,
) -> Result<Option<Relation>, Error> {
    // A unique index makes rows unique if it holds all rows, only columns of the key, and none that may be null (nulls are never equal).
    let sql = "with me as (select * from pg_catalog.pg_class where oid = pg_catalog.to_regclass($1::text)),
        indexes as (
          select i.indrelid, i.indisunique, i.indkey[0] as first_attnum,
            (select pg_catalog.bool_and(a.attnotnull and a.attname::text = any($2::text[]))
             from pg_catalog.unnest(i.indkey::int2[]) with ordinality k(attnum, place)
             join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
             where k.place <= pg_catalog.array_length(i.indclass::oid[], 1)) as in_key
          from pg_catalog.pg_index i join me on i.indrelid = me.oid
          where i.indisvalid and i.indpred is null and i.indexprs is null)
        select me.oid, me.relkind::text, me.reltuples::float8, me.relhassubclass,
          pg_catalog.current_setting('server_version_num')::int >= 140000
            and pg_catalog.has_table_privilege(me.oid, 'select') and not pg_catalog.row_security_active(me.oid),
          exists (select from indexes where indisunique and in_key),
          exists (select from indexes i join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.first_attnum
            where a.attname::text = $3::text)
        from me";
    let Some(row) =
        client.query_typed_opt(sql, &[(&sql_name, Type::TEXT), (&key, Type::TEXT_ARRAY), (&cursor, Type::TEXT)]).await?
    else {
        return Ok(None);
    };
    let (kind, rows, has_children): (&str, f64, bool) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let is_partitioned = kind == "p";
    // Rows of tables that inherit from this one are read with it, but are not in its indexes and statistics.
    let inherits = has_children && !is_partitioned;
    Ok(Some(Relation {
        oid: row.try_get(0)?,
        // −1: never counted. Views have none.
        rows: (matches!(kind, "r" | "m" | "p") && rows >= 0.0 && !inherits).then_some(rows as u64),
        is_unique: row.try_get::<_, bool>(5)? && !inherits,
        has_index: row.try_get(6)?,
        is_partitioned,
        may_split: matches!(kind, "r" | "m" | "p") && row.try_get(4)?,
    }))
}

impl Relation {
    /// Ranges that together are the relation, in its order, for `connections` to share; one where it is small or cannot be split.
    pub(super) async fn ranges(&self, client: &Client, sql_name: &str, connections: usize) -> Result<Vec<Range>, Error> {
        let whole = || vec![Range { from: sql_name.into(), pages: None }];
        if !self.may_split || connections < 2 {
            return Ok(whole());
        }
        let sql = "with heaps as (
              select $1::oid as oid where not $2 union all select relid from pg_catalog.pg_partition_tree($1::oid) where isleaf and $2)
            select pg_catalog.format('%I.%I', n.nspname, c.relname),
              coalesce(pg_catalog.pg_relation_size(c.oid), 0) / pg_catalog.current_setting('block_size')::bigint,
              c.relkind in ('r', 'm') and a.amname = 'heap',
              pg_catalog.has_table_privilege(c.oid, 'select') and not pg_catalog.row_security_active(c.oid),
              pg_catalog.current_setting('block_size')::bigint
            from heaps h join pg_catalog.pg_class c on c.oid = h.oid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
            left join pg_catalog.pg_am a on a.oid = c.relam order by 1";
        let rows = client.query_typed(sql, &[(&self.oid, Type::OID), (&self.is_partitioned, Type::BOOL)]).await?;
        let mut heaps = Vec::with_capacity(rows.len());
        let mut page_bytes = 8_192;
        for row in &rows {
            let (name, pages, is_heap, may_read) =
                (row.try_get::<_, &str>(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            let sql_name = if self.is_partitioned { name } else { sql_name };
            heaps.push(Heap { sql_name: sql_name.into(), pages, is_heap, may_read });
            page_bytes = row.try_get(4)?;
        }
        Ok(split(&heaps, page_bytes, connections).unwrap_or_else(whole))
    }
}

/// Splits the heaps of a relation; `None` if that is not worth it, or if one of them may only be read as a part of the whole.
fn split(heaps: &[Heap], page_bytes: i64, connections: usize) -> Option<Vec<Range>> {
    let pages: i64 = heaps.iter().map(|heap| heap.pages).sum();
    if pages * page_bytes < SPLIT_BYTES_MIN || !heaps.iter().all(|heap| heap.may_read) {
        return None;
    }
    let wanted = pages / (RANGES_PER_CONNECTION * i64::try_from(connections).unwrap_or(1));
    let step = wanted.clamp(RANGE_BYTES_MIN / page_bytes, RANGE_BYTES_MAX / page_bytes).max(1);
    let mut ranges = Vec::new();
    for heap in heaps {
        let from = &heap.sql_name;
        if !heap.is_heap {
            ranges.push(Range { from: Arc::clone(from), pages: None });
            continue;
        }
        // The last one has no end: pages that came since the size was asked are in it.
        let mut first = 0;
        while first + step < heap.pages {
            ranges.push(Range { from: Arc::clone(from), pages: Some((first, Some(first + step))) });
            first += step;
        }
        ranges.push(Range { from: Arc::clone(from), pages: Some((first, None)) });
    }
    Some(ranges)
}

/// Of the tables that this transaction has locked, one whose rows were written anew after its snapshot: `truncate`, `alter table … type` and
/// the like leave nothing to see for older snapshots, and an empty table must not look like one whose rows are gone.
pub(super) async fn rewritten(client: &Client) -> Result<Option<String>, Error> {
    // `pg_class` shows what the snapshot shows (newer tables not at all), the functions what is true now.
    let sql = "select l.relation::regclass::text
        from pg_catalog.pg_locks l left join pg_catalog.pg_class c on c.oid = l.relation
        where l.pid = pg_catalog.pg_backend_pid() and l.locktype = 'relation'
          and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
          and (c.oid is null and pg_catalog.pg_get_indexdef(l.relation) is null or c.relkind in ('r', 'm') and c.relfilenode <> 0
            and c.relfilenode is distinct from pg_catalog.pg_relation_filenode(c.oid)) limit 1";
    client.query_typed_opt(sql, &[]).await?.map(|row| row.try_get(0)).transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heap(name: &str, pages: i64, is_heap: bool, may_read: bool) -> Heap {
        Heap { sql_name: name.into(), pages, is_heap, may_read }
    }

    proptest! {
        /// Every page of every heap, and those after its end, is in exactly one range.
        #[test]
        fn ranges_cover_each_page_once(sizes in prop::collection::vec(0_i64..40_000, 1..5), connections in 2_usize..9) {
            let heaps: Vec<_> = sizes.iter().enumerate().map(|(at, pages)| heap(&at.to_string(), *pages, true, true)).collect();
            let Some(ranges) = split(&heaps, 8_192, connections) else {
                prop_assert!(sizes.iter().sum::<i64>() * 8_192 < SPLIT_BYTES_MIN);
                return Ok(());
            };
            for heap in &heaps {
                let of_heap: Vec<_> = ranges.iter().filter(|range| range.from == heap.sql_name).map(|range| range.pages.unwrap()).collect();
                prop_assert_eq!(of_heap[0].0, 0);
                prop_assert_eq!(of_heap.last().unwrap().1, None);
                prop_assert!(of_heap.windows(2).all(|pair| pair[0].1 == Some(pair[1].0) && pair[0].0 < pair[1].0));
            }
        }
    }

    #[test]
    fn what_may_not_be_split_is_not() {
        let large = 20_000;
        assert_eq!(split(&[heap("a", 100, true, true)], 8_192, 2), None);
        assert_eq!(split(&[heap("a", large, true, true), heap("b", 1, true, false)], 8_192, 2), None);
        let ranges = split(&[heap("a", large, true, true), heap("b", 7, false, true)], 8_192, 2).unwrap();
        assert_eq!(ranges.last(), Some(&Range { from: "b".into(), pages: None }), "a foreign table has no pages");
        assert_eq!(ranges.len(), 21);
    }
}
