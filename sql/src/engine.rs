//! Runs queries.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext, col, lit};
use futures::TryStreamExt as _;
use stream::BoxFuture;

use crate::error::SqlError;
use crate::functions;
use crate::guard;
use crate::provider::StoreTable;
use crate::recent::Recent;
use crate::source::{Source, SqlSourceConfig};
use crate::tables::{LOGS, TABLES, Table, VIEWS};
use crate::whole::Whole;

/// What SQL clients see as the database, and where in it the tables are.
pub const CATALOG: &str = "aegis";
pub const SCHEMA: &str = "public";

/// Bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Memory for sorts, joins and aggregates; what does not fit goes to temporary files or is refused.
    pub memory_bytes: usize,
    /// An answer with more rows is refused (never cut silently).
    pub max_rows: usize,
    /// Threads that one query may use; `None` for as many as there are cores.
    pub threads: Option<usize>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            memory_bytes: 256 << 20,
            max_rows: 1_000_000,
            threads: None,
        }
    }
}

/// Answers queries over one store and, if there is one, its archive. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    source: Source,
    archive: Option<PathBuf>,
    recent: Option<Recent>,
    hidden: &'static [(&'static str, &'static [&'static str])],
    options: EngineOptions,
    runtime: Arc<RuntimeEnv>,
}

impl Engine {
    /// `archive` is the archive's folder; it need not exist yet.
    pub async fn open(store: SqlSourceConfig, archive: Option<PathBuf>) -> Result<Engine, SqlError> {
        Engine::open_with(store, archive, EngineOptions::default()).await
    }

    pub async fn open_with(
        store: SqlSourceConfig,
        archive: Option<PathBuf>,
        options: EngineOptions,
    ) -> Result<Engine, SqlError> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(options.memory_bytes, 1.0)
            .build_arc();
        let runtime = runtime.map_err(|e| SqlError::from_datafusion(&e, options.memory_bytes))?;
        Ok(Engine {
            source: Source::open(&store)?,
            archive,
            recent: None,
            hidden: &[],
            options,
            runtime,
        })
    }

    /// The newest signals come from `recent`.
    pub fn with_recent(mut self, recent: Recent) -> Self {
        self.recent = Some(recent);
        self
    }

    /// Tables without some of their columns, by name: they are not there for whoever asks this engine.
    pub fn hiding(mut self, hidden: &'static [(&'static str, &'static [&'static str])]) -> Self {
        self.hidden = hidden;
        self
    }

    pub fn options(&self) -> EngineOptions {
        self.options
    }

    /// The answer's schema and rows.
    pub fn query<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<(SchemaRef, Vec<RecordBatch>), SqlError>> {
        Box::pin(self.answer(sql))
    }

    async fn answer(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SqlError> {
        let statement = guard::check(sql)?;
        let context = self.session().await?;
        // The guard has read the text; this reads the plan, so that neither has to be perfect.
        let read_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let answer = context.sql_with_options(sql, read_only).await.map_err(|e| {
            let unknown = guard::unknown_table(&context, &statement);
            unknown.unwrap_or_else(|| SqlError::from_datafusion(&e, self.options.memory_bytes))
        })?;
        self.collect(answer).await
    }

    async fn collect(&self, answer: DataFrame) -> Result<(SchemaRef, Vec<RecordBatch>), SqlError> {
        let failed = |e: DataFusionError| SqlError::from_datafusion(&e, self.options.memory_bytes);
        let schema: &Schema = answer.schema().as_arrow();
        let schema: SchemaRef = Arc::new(schema.clone());
        let mut stream = answer.execute_stream().await.map_err(failed)?;
        let (mut batches, mut rows) = (Vec::new(), 0);
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            rows += batch.num_rows();
            if rows > self.options.max_rows {
                return Err(SqlError::TooManyRows {
                    limit: self.options.max_rows,
                });
            }
            batches.push(batch);
        }
        Ok((schema, batches))
    }

    /// A session over the tables as they are whenever they are asked. Holds no rows, and may live as long as the engine.
    pub fn session(&self) -> BoxFuture<'_, Result<SessionContext, SqlError>> {
        Box::pin(self.make_session())
    }

    async fn make_session(&self) -> Result<SessionContext, SqlError> {
        let failed = |e: DataFusionError| SqlError::from_datafusion(&e, self.options.memory_bytes);
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_default_catalog_and_schema(CATALOG, SCHEMA);
        if let Some(threads) = self.options.threads {
            config = config.with_target_partitions(threads);
        }
        // The store's text is Utf8; two kinds of text in one column would need casts everywhere.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        let mut context = SessionContext::new_with_config_rt(config, self.runtime.clone());
        datafusion_functions_json::register_all(&mut context).map_err(failed)?;
        functions::register(&context);
        let views = |table: &&Table| VIEWS.iter().any(|(name, ..)| *name == table.name);
        for table in TABLES.iter().filter(|table| !views(table)) {
            let provider: Arc<dyn TableProvider> = match table.name {
                "signals" => Arc::new(self.whole(table, "signals", true)),
                _ => Arc::new(StoreTable::new(self.source.clone(), table, None)),
            };
            context.register_table(table.name, provider).map_err(failed)?;
        }
        let lines = Arc::new(self.whole(&LOGS, "lines", false));
        context.register_table(LOGS.name, lines).map_err(failed)?;
        for (name, table, kind) in VIEWS {
            let rows = context.table(*table).await.map_err(failed)?;
            let rows = match kind {
                Some(kind) => rows.filter(col("kind").eq(lit(*kind))).map_err(failed)?,
                None => rows,
            };
            context.register_table(*name, rows.into_view()).map_err(failed)?;
        }
        for (name, columns) in self.hidden {
            let rest = context.table(*name).await.map_err(failed)?;
            let rest = rest.drop_columns(columns).map_err(failed)?;
            context.deregister_table(*name).map_err(failed)?;
            context.register_table(*name, rest.into_view()).map_err(failed)?;
        }
        Ok(context)
    }

    fn whole(&self, table: &'static Table, topic: &'static str, stored: bool) -> Whole {
        Whole {
            table,
            archive: self.archive.clone().map(|root| (root, topic)),
            store: stored.then(|| self.source.clone()),
            recent: self.recent.clone().filter(|_| stored),
        }
    }
}
