//! Writing a table that nobody sees yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream::select_all;

use crate::base::{RunId, TableName, failpoint};

use super::cut::CONTENT;
use super::file::FileWriter;
use super::hash::{self, RowHasher};
use super::incoming::{Files, side_by_side, workers};
use super::place::Place;
use super::{Batches, DataFile, Staged, Store, StoreError, TableVersion, types};

/// Rows of a part up to this size do not get a file of their own.
const FEW_BYTES: usize = 4 << 20;

/// Hash of a set of rows: equal for equal rows in any order.
///
/// The sum of each row's 128-bit hash, and the count of rows. A sum, unlike an exclusive or, also tells how often a row occurs.
#[derive(Debug)]
struct Content {
    hasher: RowHasher,
    rows: u64,
    sum: u128,
}

impl Content {
    fn new(schema: &SchemaRef) -> Self {
        Self { hasher: RowHasher::new(schema.fields().iter().map(|field| field.name().as_str())), rows: 0, sum: 0 }
    }

    fn add(&mut self, table: &str, batch: &RecordBatch) -> Result<(), StoreError> {
        self.sum = self.hasher.hash(table, batch)?.into_iter().fold(self.sum, u128::wrapping_add);
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Names the columns too: the same values under another name or type are another content.
    fn text(&self, schema_json: &str) -> String {
        content_text(self.rows, self.sum, schema_json)
    }
}

/// [`Staged::content`] of so many rows with this sum of hashes.
pub(super) fn content_text(rows: u64, sum: u128, schema_json: &str) -> String {
    format!("{rows}-{sum:032x}-{:016x}", hash::of_bytes(schema_json.as_bytes()) as u64)
}

/// Rows and sum of hashes in a [`Staged::content`].
pub(super) fn content_parts(text: &str) -> Option<(u64, u128)> {
    let (rows, rest) = text.split_once('-')?;
    Some((rows.parse().ok()?, u128::from_str_radix(rest.split_once('-')?.0, 16).ok()?))
}

impl Store {
    /// The content that a table of these rows alone would have.
    pub fn content_of(&self, table: &TableName, batch: &RecordBatch) -> Result<String, StoreError> {
        let name = table.to_string();
        let schema = types::storable(&name, &batch.schema())?;
        let mut content = Content::new(&schema);
        content.add(&name, &types::by_position(&name, batch, &schema)?)?;
        Ok(content.text(&types::to_delta(&schema)))
    }

    /// The hash that [`Store::stage`] would give `batches`, and how many rows they are; nothing is written.
    pub async fn content_of_batches(
        &self,
        table: &TableName,
        schema: SchemaRef,
        mut batches: Batches,
    ) -> Result<(String, u64), StoreError> {
        let name = table.to_string();
        let schema = types::storable(&name, &schema)?;
        let mut content = Content::new(&schema);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|source| StoreError::Input { table: name.clone(), source })?;
            content.add(&name, &types::by_position(&name, &batch, &schema)?)?;
        }
        Ok((content.text(&types::to_delta(&schema)), content.rows))
    }

    /// [`Store::stage_parts`] of one part.
    pub async fn stage(
        &self,
        run: RunId,
        table: &TableName,
        schema: SchemaRef,
        batches: Batches,
        properties: BTreeMap<String, String>,
    ) -> Result<Staged, StoreError> {
        self.stage_parts(run, table, schema, vec![batches], properties).await
    }

    /// Writes `parts` as the whole next content of `table`, visible to nobody yet. Each part has files of its own, written side by side, so that rows which
    /// lay together stay together; of several parts the small ones share a file.
    ///
    /// Types that a table cannot have are widened (`Int16` → `Int32`, views → plain); what cannot be kept without loss is an error that names the column.
    pub async fn stage_parts(
        &self,
        run: RunId,
        table: &TableName,
        schema: SchemaRef,
        parts: Vec<Batches>,
        properties: BTreeMap<String, String>,
    ) -> Result<Staged, StoreError> {
        let name = table.to_string();
        let schema = types::storable(&name, &schema)?;
        let schema_json = types::to_delta(&schema);
        let stem = format!("{}/s-{run}", Place::table_folder(table));
        let files = Files { store: Arc::clone(&self.place.folder), table: name.clone(), stem, schema: schema.clone() };
        failpoint::hit("stage.file.before");
        let jobs: Vec<_> = spread(parts, workers()).into_iter().map(|rows| part(files.clone(), rows)).collect();
        let parts = side_by_side(&name, jobs.len().max(1), jobs).await?;
        let (mut content, mut written, mut shared) = (Content::new(&schema), Vec::new(), files.writer());
        for part in parts {
            content.rows += part.rows;
            content.sum = content.sum.wrapping_add(part.sum);
            written.extend(part.files);
            for batch in &part.few {
                shared.write(batch).await?;
            }
        }
        written.extend(shared.finish().await?);
        failpoint::hit("stage.file.after");
        let (content, rows) = (content.text(&schema_json), content.rows);
        Ok(Staged { table: name, content, schema_json, files: written, rows, properties, edit: None })
    }

    /// The rows of `version` as they are, with other properties; `None` where it is not known which rows these are.
    pub fn restate(&self, version: &TableVersion, properties: BTreeMap<String, String>) -> Result<Option<Staged>, StoreError> {
        let Some(content) = version.properties.get(CONTENT) else { return Ok(None) };
        let schema = types::storable(&version.table.to_string(), &version.schema)?;
        Ok(Some(Staged {
            table: version.table.to_string(),
            schema_json: types::to_delta(&schema),
            files: Vec::new(),
            rows: version.files.iter().map(|file| file.rows).sum(),
            content: content.clone(),
            properties,
            edit: None,
        }))
    }
}

/// A part of a table, written.
struct Part {
    rows: u64,
    sum: u128,
    files: Vec<DataFile>,
    /// Its rows if they are too few for a file.
    few: Vec<RecordBatch>,
}

/// Encodes the rows of a part; a task of its own, so that several are made on several cores.
async fn part(files: Files, mut batches: Batches) -> Result<Part, StoreError> {
    let (mut content, mut writer) = (Content::new(&files.schema), None::<FileWriter>);
    let (mut few, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|source| StoreError::Input { table: files.table.clone(), source })?;
        let batch = types::by_position(&files.table, &batch, &files.schema)?;
        content.add(&files.table, &batch)?;
        if let Some(writer) = &mut writer {
            writer.write(&batch).await?;
            continue;
        }
        bytes += batch.get_array_memory_size();
        few.push(batch);
        if bytes > FEW_BYTES {
            let writer = writer.insert(files.writer());
            for batch in few.drain(..) {
                writer.write(&batch).await?;
            }
        }
    }
    let files = match writer {
        Some(writer) => writer.finish().await?,
        None => Vec::new(),
    };
    Ok(Part { rows: content.rows, sum: content.sum, files, few })
}

/// At most `most` parts that have the rows of all.
fn spread(parts: Vec<Batches>, most: usize) -> Vec<Batches> {
    if parts.len() <= most {
        return parts;
    }
    let mut groups: Vec<Vec<Batches>> = (0..most).map(|_| Vec::new()).collect();
    parts.into_iter().enumerate().for_each(|(number, part)| groups[number % most].push(part));
    groups.into_iter().map(|group| select_all(group).boxed()).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float32Array, Int16Array, StringViewArray, TimestampNanosecondArray};

    use super::super::testing::*;
    use super::*;

    async fn content(bench: &Bench, batches: Vec<RecordBatch>) -> String {
        let schema = batches[0].schema();
        bench.store.stage(RunId(1), &name("erp.items"), schema, stream(batches), BTreeMap::new()).await.unwrap().content
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn content_does_not_depend_on_order() {
        let bench = Bench::new().await;
        let one = content(&bench, vec![orders(&[(1, "a"), (2, "b"), (2, "b")])]).await;
        assert_eq!(one, content(&bench, vec![orders(&[(2, "b")]), orders(&[(2, "b"), (1, "a")])]).await);
        assert_ne!(one, content(&bench, vec![orders(&[(1, "a"), (2, "b")])]).await, "how often counts");
        assert_ne!(one, content(&bench, vec![orders(&[(1, "b"), (2, "a"), (2, "b")])]).await);
        let renamed = RecordBatch::try_from_iter([("id", orders(&[(1, "a")]).column(0).clone())]).unwrap();
        let other = RecordBatch::try_from_iter([("key", orders(&[(1, "a")]).column(0).clone())]).unwrap();
        assert_ne!(content(&bench, vec![renamed]).await, content(&bench, vec![other]).await);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn types_are_made_storable_or_refused() {
        let bench = Bench::new().await;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("small", Arc::new(Int16Array::from(vec![Some(1), None]))),
            ("view", Arc::new(StringViewArray::from(vec!["x", "y"]))),
            ("single", Arc::new(Float32Array::from(vec![0.5, 1.5]))),
            ("nanos", Arc::new(TimestampNanosecondArray::from(vec![1_000, 2_000]).with_timezone("+00:00"))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let staged =
            bench.store.stage(RunId(1), &name("erp.items"), batch.schema(), stream(vec![batch]), BTreeMap::new()).await.unwrap();
        bench.store.publish(RunId(1), instant(1), vec![staged], BTreeMap::new()).await.unwrap();
        assert_eq!(bench.rows("erp.items").await, ["1|x|0.5|1970-01-01T00:00:00.000001Z", "|y|1.5|1970-01-01T00:00:00.000002Z"]);

        let zoneless: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_000]));
        let batch = RecordBatch::try_from_iter([("at", zoneless)]).unwrap();
        let refused = bench
            .store
            .stage(RunId(1), &name("erp.items"), batch.schema(), stream(vec![batch]), BTreeMap::new())
            .await
            .unwrap_err();
        let text =
            "table erp.items, column at: a timestamp without time zone cannot be stored; cast it to timestamp(6) with time zone";
        assert_eq!(refused.to_string(), text);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn parts_have_files_of_their_own_unless_they_are_small() {
        let bench = Bench::new().await;
        let large = |start: i64| {
            let ids = (start..start + 600_000).map(|id| (id, "x")).collect::<Vec<_>>();
            orders(&ids)
        };
        let parts = [orders(&[(1, "a")]), large(10), orders(&[(2, "b")]), large(1_000_000), orders(&[(3, "c")])];
        let stage = async |run, parts: Vec<Vec<RecordBatch>>| {
            let schema = parts[0][0].schema();
            let parts = parts.into_iter().map(stream).collect();
            bench.store.stage_parts(RunId(run), &name("erp.items"), schema, parts, BTreeMap::new()).await.unwrap()
        };
        let apart = stage(1, parts.iter().map(|part| vec![part.clone()]).collect()).await;
        let whole = stage(2, vec![parts.to_vec()]).await;
        assert_eq!((&apart.content, apart.rows), (&whole.content, 1_200_003));
        let few = stage(3, vec![vec![parts[0].clone()], vec![parts[2].clone()], vec![parts[4].clone()]]).await;
        assert_eq!(few.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [3]);
        // two large parts of which each keeps to its range
        let large = stage(4, vec![vec![parts[1].clone()], vec![parts[3].clone()]]).await;
        let is_in = |file: &DataFile, least: i64| {
            let stats: serde_json::Value = serde_json::from_str(file.stats.as_deref().unwrap()).unwrap();
            let bound = |of: &str| stats[of]["id"].as_i64().unwrap();
            bound("minValues") >= least && bound("maxValues") < least + 600_000
        };
        assert!(large.files.iter().all(|file| is_in(file, 10) || is_in(file, 1_000_000)), "{:?}", large.files);
    }
}
