//! Where a lot came from and where it went.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::base::{RunId, TableName};
use crate::decide::{self, Context};
use crate::model::Reader;
use crate::store::Cut;

use super::{Hub, PipelineError};

/// Links read at most; more than two plants record in ten years.
const LINKS_MAX: usize = 5_000_000;

/// Lots of one number that are followed together.
const NAMESAKES_MAX: usize = 1_000;

/// The ancestors and descendants of a lot, as `decide::trace` yields them.
#[derive(Debug, Clone)]
pub struct LotTrace {
    pub lot: String,
    pub rows: RecordBatch,
}

impl Hub {
    /// Follows `qms.lot_links` of a run's cut (the last one for `None`) both ways. `lot` is a lot's hub id, its number or its key in the source; a number that several
    /// items use stands for all of them.
    pub async fn trace(&self, lot: &str, run: Option<RunId>) -> Result<LotTrace, PipelineError> {
        let cut = self.cut_of(run).await?;
        let reader = Reader::new(&self.project, &self.store, &cut).await?;
        let sql = "select from_lot, to_lot, work_order_id, at from qms.lot_links";
        let (batches, more) = reader.query(sql, LINKS_MAX).await?;
        if more {
            return Err(PipelineError::Task(format!("qms.lot_links has more than {LINKS_MAX} rows")));
        }
        let task = |error: &dyn std::fmt::Display| PipelineError::Task(error.to_string());
        let schema = batches.first().map_or_else(no_links, RecordBatch::schema);
        let links = concat_batches(&schema, &batches).map_err(|error| task(&error))?;
        let seeds: ArrayRef = Arc::new(StringArray::from(lots_named(&cut, &reader, lot).await?));
        let seeds = RecordBatch::try_from_iter([("lot_id", seeds)]).map_err(|error| task(&error))?;
        let Some(trace) = decide::all().into_iter().find(|decision| decision.name() == "trace") else {
            return Err(PipelineError::Task("there is no decision function \"trace\"".into()));
        };
        let rows = trace.decide(&[links, seeds], &Context::at(cut.as_of))?;
        Ok(LotTrace { lot: lot.into(), rows })
    }
}

/// The hub ids of the lots that people call `name`; the name itself where the cut knows no such lot.
async fn lots_named(cut: &Cut, reader: &Reader<'_>, name: &str) -> Result<Vec<String>, PipelineError> {
    let mut ids = vec![name.to_owned()];
    if cut.has(&TableName::new("wms", "lots")) {
        let quoted = name.replace('\'', "''");
        let sql = format!(
            "select distinct lot_id from wms.lots where lot_number = '{quoted}' or source_lot_id = '{quoted}' order by lot_id"
        );
        let (batches, _) = reader.query(&sql, NAMESAKES_MAX).await?;
        ids.extend(
            batches
                .iter()
                .filter_map(|batch| batch.column(0).as_string_opt::<i32>())
                .flat_map(|lots| lots.iter().flatten().map(str::to_owned).collect::<Vec<_>>()),
        );
        ids.dedup();
    }
    Ok(ids)
}

/// The columns of a result without rows.
fn no_links() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("from_lot", DataType::Utf8),
        field("to_lot", DataType::Utf8),
        field("work_order_id", DataType::Utf8),
        field("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
    ]))
}
