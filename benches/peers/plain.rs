//! Plain DataFusion over the files that Loopline's models read: `plain TABLES.json FOLDER STATEMENT.sql…` runs each statement and writes its rows to
//! `FOLDER/<statement>.parquet`, compressed as Loopline compresses them. What `benches/run tpch` measures Loopline against.

#![allow(clippy::print_stderr, reason = "a measurement says what it measured")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use datafusion::config::TableParquetOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(tables), Some(folder)) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("plain TABLES.json FOLDER STATEMENT.sql…");
    };
    let tables: BTreeMap<String, Vec<String>> = serde_json::from_str(&std::fs::read_to_string(tables)?)?;
    let cores = std::thread::available_parallelism()?.get();
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(cores));
    context.sql("create schema erp").await?;
    for (table, files) in tables {
        let rows = context.read_parquet(files, ParquetReadOptions::default()).await?;
        context.register_table(table.as_str(), rows.into_view())?;
    }
    let mut parquet = TableParquetOptions::default();
    parquet.global.compression = Some("zstd(1)".into());
    for statement in arguments {
        let started = Instant::now();
        let name = Path::new(&statement).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let rows = context.sql(&std::fs::read_to_string(&statement)?).await?;
        let target = format!("{folder}/{name}.parquet");
        rows.write_parquet(&target, DataFrameWriteOptions::new().with_single_file_output(true), Some(parquet.clone())).await?;
        eprintln!("{name} {:.3}", started.elapsed().as_secs_f64());
    }
    Ok(())
}
