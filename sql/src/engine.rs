//! Runs queries.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures::TryStreamExt as _;

use crate::archive::Archived;
use crate::error::SqlError;
use crate::guard;
use crate::provider::StoreTable;
use crate::source::{Source, SqlSourceConfig};
use crate::tables::{LOGS, TABLES};

/// Bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Memory for sorts, joins and aggregates; what does not fit goes to temporary files or is refused.
    pub memory_bytes: usize,
    /// An answer with more rows is refused (never cut silently).
    pub max_rows: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            memory_bytes: 256 << 20,
            max_rows: 1_000_000,
        }
    }
}

/// Answers queries over one store and, if there is one, its archive. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    source: Source,
    archive: Option<PathBuf>,
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
            options,
            runtime,
        })
    }

    /// The answer's schema and rows.
    pub async fn query(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), SqlError> {
        let statement = guard::check(sql)?;
        let context = self.context().await?;
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

    /// A session of its own for every query: what the archive holds is looked up anew.
    async fn context(&self) -> Result<SessionContext, SqlError> {
        let failed = |e: DataFusionError| SqlError::from_datafusion(&e, self.options.memory_bytes);
        let mut config = SessionConfig::new().with_information_schema(true);
        // The store's text is Utf8; two kinds of text in one column would need casts everywhere.
        config.options_mut().execution.parquet.schema_force_view_types = false;
        let context = SessionContext::new_with_config_rt(config, self.runtime.clone());
        for table in TABLES.iter() {
            let archived = match (&self.archive, table.name) {
                (Some(root), "signals") => Archived::list(root, "signals")?,
                _ => Archived::default(),
            };
            let stored = Arc::new(StoreTable::new(self.source.clone(), table, archived.beyond()));
            match archived.read(&context, table).await.map_err(failed)? {
                None => context.register_table(table.name, stored),
                Some(older) => {
                    let newer = context.read_table(stored).map_err(failed)?;
                    context.register_table(table.name, older.union(newer).map_err(failed)?.into_view())
                }
            }
            .map_err(failed)?;
        }
        let lines = match &self.archive {
            Some(root) => Archived::list(root, "lines")?,
            None => Archived::default(),
        };
        let table = &LOGS;
        let registered = match lines.read(&context, table).await.map_err(failed)? {
            Some(lines) => context.register_table(table.name, lines.into_view()),
            // Nothing is there yet: no rows, and the columns all the same.
            None => {
                let none = MemTable::try_new(table.schema(), vec![Vec::new()]).map_err(failed)?;
                context.register_table(table.name, Arc::new(none))
            }
        };
        registered.map_err(failed)?;
        Ok(context)
    }
}
