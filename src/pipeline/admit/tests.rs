//! Every policy on every difference; what is said; that nothing is lost on the way.

use arrow::array::{Decimal128Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::DataType::{Decimal128 as Decimal, Int32, Int64, Utf8};
use futures::TryStreamExt;
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use crate::connect::{Discard, Discards, cell_json};
use crate::project::{Cursor, CursorKind, StreamContract};

use super::*;

const POLICIES: [Policy; 4] = [Policy::Evolve, Policy::Freeze, Policy::DiscardRow, Policy::DiscardValue];

fn all(policy: Policy) -> StreamContract {
    StreamContract { new_columns: policy, gone_columns: policy, widened_types: policy, changed_types: policy, values: policy }
}

fn stream(policy: Policy) -> Stream {
    Stream { contract: all(policy), ..Stream::new("items", vec!["id".into()]) }
}

fn columns(columns: &[(&str, DataType)]) -> Schema {
    Schema::new(columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect::<Vec<_>>())
}

/// A table of these columns as a landing made it.
fn table(of: &[(&str, DataType)]) -> Schema {
    columns(&[of, &[(PULL, Int64)]].concat())
}

fn ids<const N: usize>() -> (&'static str, ArrayRef) {
    ("id", Arc::new(Int64Array::from_iter_values((1..).take(N))))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn lines(batch: &RecordBatch) -> String {
    let cell = |column: &ArrayRef, row| cell_json(column, row).to_string();
    let line = |row| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join(" ") + "\n";
    let head = batch.schema_ref().fields().iter().map(|field| format!("{} {}", field.name(), exact::word(field.data_type())));
    head.collect::<Vec<_>>().join(", ") + "\n" + &(0..batch.num_rows()).map(line).collect::<String>()
}

/// What becomes of a reading, or what is said.
fn admitted(stream: &Stream, table: &Schema, batch: &RecordBatch) -> String {
    let admission = match Admission::new(stream, Some(table), batch.schema_ref()) {
        Ok(admission) => admission,
        Err(error) => return format!("{error}\nhint: {}\n", error.hint().unwrap()),
    };
    let mut text = lines(&admission.admit(batch).unwrap());
    let (rows, values) = admission.omitted.counts();
    let left_out = admission.omitted.close();
    if let Some(entries) = left_out.entries {
        let keys: usize = left_out.keys.unwrap().iter().map(RecordBatch::num_rows).sum();
        text += &format!("left out: {rows} rows ({keys} keys), {values} values\n");
        text.extend(lines(&entries).lines().skip(1).map(|line| format!("- {line}\n")));
    }
    text
}

/// The same under each policy.
fn under_each(table: &Schema, batch: &RecordBatch) -> String {
    POLICIES.map(|policy| format!("{policy:?}: {}", admitted(&stream(policy), table, batch))).join("\n")
}

#[test]
fn new_columns() {
    let batch = rows(vec![ids::<2>(), ("note", texts(&[Some("fragile"), None])), ("size", longs(&[7, 8]))]);
    let known = table(&[("id", Int64), ("size", Int64)]);
    assert_snapshot!(under_each(&known, &batch), @r#"
    Evolve: id long, size long, note text
    1 7 "fragile"
    2 8 null

    Freeze: contract: column "note" (text) is new
    hint: if the table shall follow: contract = { new_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is

    DiscardRow: id long, size long
    2 8
    left out: 1 rows (1 keys), 0 values
    - "id=1" "note" "the table does not have this column" "fragile" "{\"id\":1,\"note\":\"fragile\",\"size\":7}"

    DiscardValue: id long, size long
    1 7
    2 8
    left out: 0 rows (0 keys), 1 values
    - "id=1" "note" "the table does not have this column" "fragile" null
    "#);
}

#[test]
fn gone_columns() {
    let batch = rows(vec![ids::<2>(), ("size", longs(&[7, 8]))]);
    let known = table(&[("id", Int64), ("unit", Utf8), ("size", Int64)]);
    let excluded = Stream { exclude: vec!["unit".into()], ..stream(Policy::Freeze) };
    assert_snapshot!(admitted(&excluded, &known, &batch), @r#"
    contract: column "unit" (text) is excluded now
    hint: if the table shall follow: contract = { gone_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is
    "#);
    assert_snapshot!(under_each(&known, &batch), @r#"
    Evolve: id long, unit text, size long
    1 null 7
    2 null 8

    Freeze: contract: column "unit" (text) is gone from the source
    hint: if the table shall follow: contract = { gone_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is

    DiscardRow: id long, unit text, size long
    left out: 2 rows (2 keys), 0 values
    - "id=1" "unit" "the source does not have this column any more" "" "{\"id\":1,\"size\":7}"
    - "id=2" "unit" "the source does not have this column any more" "" "{\"id\":2,\"size\":8}"

    DiscardValue: id long, unit text, size long
    1 null 7
    2 null 8
    left out: 0 rows (0 keys), 0 values
    - "" "unit" "the source does not have this column any more: its values are null from now on" "" null
    "#);
}

#[test]
fn widened_types() {
    let batch = rows(vec![ids::<2>(), ("size", longs(&[7, 1 << 40]))]);
    assert_snapshot!(under_each(&table(&[("id", Int64), ("size", Int32)]), &batch), @r#"
    Evolve: id long, size long
    1 7
    2 1099511627776

    Freeze: contract: column "size" became wider: it was integer and is now long
    hint: if the table shall follow: contract = { widened_types = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is

    DiscardRow: id long, size integer
    1 7
    left out: 1 rows (1 keys), 0 values
    - "id=2" "size" "not exactly integer; the source's type is long now" "1099511627776" "{\"id\":2,\"size\":1099511627776}"

    DiscardValue: id long, size integer
    1 7
    2 null
    left out: 0 rows (0 keys), 1 values
    - "id=2" "size" "not exactly integer; the source's type is long now" "1099511627776" null
    "#);
}

#[test]
fn changed_types() {
    let size = texts(&[Some("7"), Some("07"), None, Some("large")]);
    let batch = rows(vec![ids::<4>(), ("size", size)]);
    assert_snapshot!(under_each(&table(&[("id", Int64), ("size", Int64)]), &batch), @r#"
    Evolve: id long, size long, size__text text
    1 7 null
    2 null "07"
    3 null null
    4 null "large"

    Freeze: contract: column "size" has another type: it was long and is now text
    hint: if the table shall follow: contract = { changed_types = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is

    DiscardRow: id long, size long
    1 7
    3 null
    left out: 2 rows (2 keys), 0 values
    - "id=2" "size" "not exactly long; the source's type is text now" "07" "{\"id\":2,\"size\":\"07\"}"
    - "id=4" "size" "not exactly long; the source's type is text now" "large" "{\"id\":4,\"size\":\"large\"}"

    DiscardValue: id long, size long
    1 7
    2 null
    3 null
    4 null
    left out: 0 rows (0 keys), 2 values
    - "id=2" "size" "not exactly long; the source's type is text now" "07" null
    - "id=4" "size" "not exactly long; the source's type is text now" "large" null
    "#);
}

#[test]
fn decimals_widen_to_what_holds_both() {
    let price = |values: Vec<i128>| Arc::new(Decimal128Array::from(values).with_precision_and_scale(12, 4).unwrap()) as ArrayRef;
    let batch = rows(vec![ids::<2>(), ("price", price(vec![15_000, 12_345]))]);
    assert_snapshot!(under_each(&table(&[("id", Int64), ("price", Decimal(12, 2))]), &batch), @r#"
    Evolve: id long, price decimal(14,4)
    1 "1.5"
    2 "1.2345"

    Freeze: contract: column "price" became wider: it was decimal(12,2) and is now decimal(12,4)
    hint: if the table shall follow: contract = { widened_types = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is

    DiscardRow: id long, price decimal(12,2)
    1 "1.5"
    left out: 1 rows (1 keys), 0 values
    - "id=2" "price" "not exactly decimal(12,2); the source's type is decimal(12,4) now" "1.2345" "{\"id\":2,\"price\":\"1.2345\"}"

    DiscardValue: id long, price decimal(12,2)
    1 "1.5"
    2 null
    left out: 0 rows (0 keys), 1 values
    - "id=2" "price" "not exactly decimal(12,2); the source's type is decimal(12,4) now" "1.2345" null
    "#);
    let narrow = table(&[("id", Int64), ("price", Decimal(20, 6))]);
    assert_snapshot!(admitted(&stream(Policy::Freeze), &narrow, &batch), @r#"
    id long, price decimal(20,6)
    1 "1.5"
    2 "1.2345"
    "#);
}

#[test]
fn variants_stay_and_the_column_may_come_back() {
    let known = table(&[("id", Int64), ("size", Int64), ("size__text", Utf8), ("size__decimal", Decimal(10, 2))]);
    let evolve = stream(Policy::Evolve);
    let text = rows(vec![ids::<2>(), ("size", texts(&[Some("7"), Some("large")]))]);
    assert_snapshot!(admitted(&evolve, &known, &text), @r#"
    id long, size long, size__text text, size__decimal decimal(10,2)
    1 7 null null
    2 null "large" null
    "#);
    let back = rows(vec![ids::<2>(), ("size", longs(&[7, 8]))]);
    assert_snapshot!(admitted(&stream(Policy::Freeze), &known, &back), @"
    id long, size long, size__text text, size__decimal decimal(10,2)
    1 7 null null
    2 8 null null
    ");
    let taken = rows(vec![ids::<1>(), ("size", texts(&[Some("large")])), ("size__text", texts(&[None]))]);
    assert_snapshot!(admitted(&evolve, &table(&[("id", Int64), ("size", Int64)]), &taken), @r#"
    contract: column "size__text", which would take values of "size" that are not of its type any more, is there already and holds something else
    hint: restore it in the source, or delete the table's folder so that the next pull reads it anew
    "#);
    // Text takes every value, so it needs no variant.
    let long = rows(vec![ids::<1>(), ("unit", longs(&[5]))]);
    assert_snapshot!(admitted(&evolve, &table(&[("id", Int64), ("unit", Utf8)]), &long), @r#"
    id long, unit text
    1 "5"
    "#);
}

#[test]
fn the_key_and_the_cursor_are_never_left_out_alone() {
    let known = table(&[("id", Int64), ("changed", Int32)]);
    let with_cursor = |policy| Stream {
        cursor: Some(Cursor { field: "changed".into(), kind: CursorKind::Integer, lookback: 0 }),
        ..stream(policy)
    };
    let text_key = rows(vec![("id", texts(&[Some("1")])), ("changed", Arc::new(Int32Array::from(vec![1])))]);
    for policy in POLICIES {
        let said = admitted(&with_cursor(policy), &known, &text_key);
        assert!(
            said.starts_with("contract: column \"id\", part of the key, has another type: it was long and is now text\n"),
            "{said}"
        );
    }
    let wide_cursor = rows(vec![ids::<2>(), ("changed", longs(&[5, 1 << 40]))]);
    assert_snapshot!(admitted(&with_cursor(Policy::DiscardValue), &known, &wide_cursor), @r#"
    id long, changed integer
    1 5
    left out: 1 rows (1 keys), 0 values
    - "id=2" "changed" "not exactly integer; the source's type is long now" "1099511627776" "{\"changed\":1099511627776,\"id\":2}"
    "#);
    let new_cursor = table(&[("id", Int64)]);
    assert_snapshot!(admitted(&with_cursor(Policy::DiscardValue), &new_cursor, &wide_cursor), @r#"
    contract: column "changed", the cursor, is new and cannot be left out
    hint: if the table shall follow: contract = { new_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is
    "#);
}

#[test]
fn all_that_is_frozen_is_said_at_once() {
    let known = table(&[("id", Int64), ("unit", Utf8), ("size", Int32), ("place", Int64)]);
    let now = rows(vec![
        ids::<1>(),
        ("size", longs(&[1])),
        ("place", texts(&[None])),
        ("note", texts(&[None])),
        ("photo", texts(&[None])),
    ]);
    assert_snapshot!(admitted(&stream(Policy::Freeze), &known, &now), @r#"
    contract: column "unit" (text) is gone from the source; column "size" became wider: it was integer and is now long; column "place" has another type: it was long and is now text; column "note" (text) is new; column "photo" (text) is new
    hint: if the table shall follow: contract = { gone_columns = "evolve", widened_types = "evolve", changed_types = "evolve", new_columns = "evolve" } in stream "items" of connector.toml; discard_row or discard_value keep the table as it is
    "#);
}

#[test]
fn a_row_is_left_out_once_and_its_values_with_it() {
    let contract = StreamContract { new_columns: Policy::DiscardRow, ..all(Policy::DiscardValue) };
    let stream = Stream { contract, ..stream(Policy::Freeze) };
    let size = texts(&[Some("large"), Some("large"), Some("3")]);
    let batch =
        rows(vec![ids::<3>(), ("size", size), ("a", texts(&[Some("x"), None, None])), ("b", texts(&[Some("y"), None, None]))]);
    assert_snapshot!(admitted(&stream, &table(&[("id", Int64), ("size", Int64)]), &batch), @r#"
    id long, size long
    2 null
    3 3
    left out: 1 rows (1 keys), 1 values
    - "id=1" "a" "the table does not have this column" "x" "{\"a\":\"x\",\"b\":\"y\",\"id\":1,\"size\":\"large\"}"
    - "id=2" "size" "not exactly long; the source's type is text now" "large" null
    "#);
}

fn reading(batch: &RecordBatch, discards: Discards) -> Reading {
    Reading {
        schema: batch.schema(),
        parts: vec![futures::stream::iter([Ok(batch.clone()), Ok(batch.slice(0, 0))]).boxed()],
        safe_until: None,
        is_unique: false,
        rows_expected: None,
        files: Vec::new(),
        discards,
    }
}

#[tokio::test]
async fn a_reading_that_fits_passes_untouched() {
    let batch = rows(vec![ids::<2>(), ("note", texts(&[Some("a"), None])), ("size", longs(&[7, 8]))]);
    // Another order of columns, and one that is new, cost nothing either.
    for known in [None, Some(table(&[("size", Int64), ("id", Int64)]))] {
        let stream = Stream::new("items", vec!["id".into()]);
        let admission = Admission::new(&stream, known.as_ref(), batch.schema_ref()).unwrap();
        let (reading, omitted) = admission.apply("erp", &stream, reading(&batch, Discards::default()));
        assert_eq!(reading.schema, batch.schema());
        let landed: Vec<RecordBatch> = reading.rows().try_collect().await.unwrap();
        assert!(Arc::ptr_eq(landed[0].column(1), batch.column(1)));
        let left_out = omitted.close();
        assert_eq!((left_out.entries, left_out.keys, omitted.counts()), (None, Some(vec![]), (0, 0)));
    }
}

#[tokio::test]
async fn what_the_reading_left_out_is_counted_and_its_keys_are_known() {
    let batch = rows(vec![ids::<2>(), ("note", texts(&[Some("a"), None]))]);
    let discards = Discards::default();
    let discard = |row: Option<&str>| Discard {
        key: "id=9".into(),
        column: "day".into(),
        reason: "no day".into(),
        value: "0000-00-00".into(),
        row: row.map(Into::into),
    };
    for row in [Some("{\"id\":9,\"day\":null}"), None, Some("{\"id\":10,\"other\":[1]}")] {
        let _kept = discards.note(discard(row));
    }
    let stream = stream(Policy::DiscardRow);
    let admission = Admission::new(&stream, Some(&table(&[("id", Int64)])), batch.schema_ref()).unwrap();
    let (reading, omitted) = admission.apply("erp", &stream, reading(&batch, discards));
    let landed: Vec<RecordBatch> = reading.rows().try_collect().await.unwrap();
    assert_eq!(landed.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let left_out = omitted.close();
    assert_eq!(left_out.entries.unwrap().num_rows(), 4);
    let keys: Vec<String> = left_out.keys.unwrap().iter().map(lines).collect();
    assert_eq!(keys, ["id long\n1\n", "id long\n9\n10\n"]);
    assert_eq!(omitted.counts(), (3, 1));

    let (_, omitted) = Admission::new(&stream, None, batch.schema_ref()).unwrap().apply(
        "erp",
        &stream,
        super::tests::reading(&batch, {
            let discards = Discards::default();
            let _kept = discards.note(discard(Some("not an object")));
            discards
        }),
    );
    assert_eq!(omitted.close().keys, None, "keys that cannot be read could be anyone's");
}

#[test]
fn many_rows_are_counted_and_few_are_kept() {
    let batch = rows(vec![("id", longs(&(0..8_192).collect::<Vec<_>>())), ("note", texts(&vec![Some("x"); 8_192]))]);
    for (policy, kept, counts) in [(Policy::DiscardRow, 10_000, (16_384, 0)), (Policy::DiscardValue, 1_000, (0, 16_384))] {
        let admission = Admission::new(&stream(policy), Some(&table(&[("id", Int64)])), batch.schema_ref()).unwrap();
        for _ in 0..2 {
            admission.admit(&batch).unwrap();
        }
        assert_eq!(admission.omitted.counts(), counts);
        let left_out = admission.omitted.close();
        assert_eq!(left_out.entries.unwrap().num_rows(), kept);
        assert_eq!(left_out.keys.unwrap().iter().map(|keys| keys.num_rows() as u64).sum::<u64>(), counts.0, "all keys are known");
    }
}

proptest! {
    /// Against one row at a time: every value is taken, goes to the variant, or is left out and counted.
    #[test]
    fn no_value_is_lost(
        values in prop::collection::vec(prop::option::of(prop_oneof![(-2_000_i64..2_000).prop_map(|n| n.to_string()), "[-+0-9 .a]{0,4}"]), 1..30),
        policy in prop::sample::select(vec![Policy::Evolve, Policy::DiscardRow, Policy::DiscardValue]),
    ) {
        let size: ArrayRef = Arc::new(StringArray::from(values.clone()));
        let ids = longs(&(0..).take(values.len()).collect::<Vec<_>>());
        let batch = rows(vec![("id", ids), ("size", size)]);
        let stream = stream(policy);
        let admission = Admission::new(&stream, Some(&table(&[("id", Int64), ("size", Int64)])), batch.schema_ref()).unwrap();
        let landed = admission.admit(&batch).unwrap();
        let mut expected = Vec::new();
        let (mut rows, mut single) = (0, 0);
        for (id, text) in values.iter().enumerate() {
            let number = text.as_ref().and_then(|text| text.parse::<i64>().ok().filter(|number| number.to_string() == *text));
            let misfit = text.clone().filter(|_| number.is_none());
            match policy {
                Policy::DiscardRow if misfit.is_some() => {
                    rows += 1;
                    continue;
                }
                Policy::DiscardValue if misfit.is_some() => single += 1,
                _ => {}
            }
            let mut cells = vec![json!(id), json!(number)];
            if policy == Policy::Evolve {
                cells.push(json!(misfit));
            }
            expected.push(cells);
        }
        let cells = |row| landed.columns().iter().map(|column| cell_json(column, row)).collect::<Vec<_>>();
        prop_assert_eq!((0..landed.num_rows()).map(cells).collect::<Vec<_>>(), expected);
        prop_assert_eq!(admission.omitted.counts(), (rows, single));
    }
}
