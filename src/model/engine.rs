//! The query engine: one memory pool, one set of options, one session for each statement that sees exactly the tables which that statement reads.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::datasource::TableProvider;
use datafusion::execution::SessionState;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use object_store::ObjectStore;

use super::ModelError;
use super::function::DecisionFunction;
use super::statement::NESTING_MAX;
use super::table::STORE_URL;
use crate::base::TableName;
use crate::base::time::Instant;
use crate::decide::{self, Context};

/// The tables that a statement may see.
pub(super) type Tables = BTreeMap<TableName, Arc<dyn TableProvider>>;

const CATALOG: &str = "loopline";
/// Where a bare name would be looked up; it stays empty.
const DEFAULT_SCHEMA: &str = "public";
/// Bytes of files for which splitting a statement's work into one more part pays.
const PART_BYTES: usize = 4 << 20;
/// What a sort keeps free for merging its spilled runs; the engine's default of 10 MiB for each sort exhausts a small pool.
const SORT_RESERVE_BYTES: usize = 1 << 20;
/// Rows of a batch where memory is short.
const FRUGAL_BATCH_ROWS: usize = 512;
/// How many of the largest consumers an error about memory names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// Everything that plans and runs statements over one store.
pub(super) struct Engine {
    base: SessionState,
    /// What searches repeat; see [`Context::iterations`].
    iterations: Option<u64>,
}

impl Engine {
    pub fn new(objects: Arc<dyn ObjectStore>, memory_limit_bytes: usize) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Engine { source: Box::new(source) };
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool(memory_limit_bytes)).build_arc().map_err(failed)?;
        let url = ObjectStoreUrl::parse(STORE_URL).map_err(failed)?;
        runtime.register_object_store(url.as_ref(), objects);
        let base = SessionStateBuilder::new().with_default_features().with_config(config()).with_runtime_env(runtime).build();
        Ok(Self { base, iterations: None })
    }

    /// The same engine, whose searches do exactly so many iterations.
    pub fn repeating(&self, iterations: u64) -> Self {
        Self { base: self.base.clone(), iterations: Some(iterations) }
    }

    /// A session that sees `tables` and whose decision functions decide as of `as_of`.
    pub fn session(&self, tables: Tables, as_of: Instant) -> SessionState {
        let mut state = self.base.clone();
        state.config_mut().options_mut().execution.target_partitions = partitions(&tables);
        state.register_catalog_list(catalog(&tables));
        let tables = Arc::new(tables);
        for decision in decide::all() {
            let decision: Arc<dyn decide::Decision> = Arc::from(decision);
            let name = decision.name();
            let function =
                DecisionFunction::new(decision, tables.clone(), Context { iterations: self.iterations, ..Context::at(as_of) });
            state.register_udtf(name, Arc::new(function));
        }
        state
    }
}

/// Parts into which the work of a statement that reads `tables` is split: one for small tables, whose rows it costs more to hand around than to
/// work through.
fn partitions(tables: &Tables) -> usize {
    let bytes = |table: &Arc<dyn TableProvider>| match table.statistics() {
        Some(statistics) => statistics.total_byte_size.get_value().copied(),
        None => None,
    };
    let sizes: Option<Vec<usize>> = tables.values().map(bytes).collect();
    sizes.map_or(cores(), |sizes| (1 + sizes.iter().sum::<usize>() / PART_BYTES).min(cores()))
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, NonZeroUsize::get)
}

/// The same session for statements that do not fit into memory with hash joins, which cannot spill.
pub(super) fn frugal(mut state: SessionState) -> SessionState {
    let options = state.config_mut().options_mut();
    options.optimizer.prefer_hash_join = false;
    // The fewest parts at which the planner takes joins that spill: with one it joins by hash all the same.
    options.execution.target_partitions = 2;
    // A merge holds a batch of each run that was spilled.
    if let Ok(rows) = ConfigNonZeroUsize::try_new(FRUGAL_BATCH_ROWS) {
        options.execution.batch_size = rows;
    }
    state
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
        .with_information_schema(true);
    let options = config.options_mut();
    options.execution.time_zone = Some("UTC".into());
    options.execution.sort_spill_reservation_bytes = SORT_RESERVE_BYTES;
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    if let Ok(limit) = ConfigNonZeroUsize::try_new(NESTING_MAX) {
        options.sql_parser.recursion_limit = limit;
    }
    config
}

fn catalog(tables: &Tables) -> Arc<dyn CatalogProviderList> {
    let catalog = MemoryCatalogProvider::new();
    let mut schemas: BTreeMap<&str, Arc<MemorySchemaProvider>> = BTreeMap::new();
    schemas.insert(DEFAULT_SCHEMA, Arc::default());
    for (table, provider) in tables {
        let schema = schemas.entry(&table.schema).or_default();
        // Fails for a name that is there already only; a map's keys are unique.
        let _ = schema.register_table(table.name.clone(), provider.clone());
    }
    for (name, schema) in schemas {
        let _ = catalog.register_schema(name, schema);
    }
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.into(), Arc::new(catalog));
    Arc::new(list)
}

/// The pool that everything draws from which has the same limit: one in a process, unless projects with different limits are open at once.
fn pool(limit_bytes: usize) -> Arc<dyn MemoryPool> {
    static POOLS: Mutex<BTreeMap<usize, Weak<dyn MemoryPool>>> = Mutex::new(BTreeMap::new());
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&limit_bytes).and_then(Weak::upgrade) {
        return pool;
    }
    let pool: Arc<dyn MemoryPool> = Arc::new(TrackConsumersPool::new(FairSpillPool::new(limit_bytes), CONSUMERS_NAMED));
    pools.insert(limit_bytes, Arc::downgrade(&pool));
    pool
}
