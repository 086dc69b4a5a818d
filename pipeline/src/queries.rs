//! SQL for MCP clients and for the dashboard: the engine of `aegis sql` and of the wire protocol with bounds of its own, on a thread of its
//! own, opened by the first query. The bytes of dead letters are not among its columns: whoever may read lists may not read those.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::json::writer::JsonArray;
use arrow::json::{Writer, WriterBuilder};
use async_trait::async_trait;
use gateway::{Queries, QueryError, Rows};
use serde_json::{Map, Value};
use sinks::archive::Flush;
use sql::{Engine, EngineOptions, Recent, SqlError};
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::sql_endpoint;
use crate::threads::OwnThreads;

/// Memory for sorts, joins and aggregates of all queries together.
const MEMORY: usize = 64 << 20;
/// How long somebody who asks for log lines waits for the newest: Progress comes every second.
const PATIENCE: Duration = Duration::from_secs(3);
/// What a stranger sent, as he sent it.
const HIDDEN: &[(&str, &[&str])] = &[("dead_letters", &["headers", "body_base64"])];

pub struct TableQueries {
    config: Config,
    recent: Option<Recent>,
    flush: Arc<Flush>,
    max_rows: usize,
    opened: OnceCell<(Engine, OwnThreads)>,
}

impl TableQueries {
    /// Answers with more than `max_rows` rows are refused.
    pub fn new(config: &Config, recent: Option<Recent>, flush: Arc<Flush>, max_rows: usize) -> Self {
        TableQueries {
            config: config.clone(),
            recent,
            flush,
            max_rows,
            opened: OnceCell::new(),
        }
    }

    async fn opened(&self) -> Result<&(Engine, OwnThreads), QueryError> {
        let open = async || {
            let options = EngineOptions {
                memory_bytes: MEMORY,
                max_rows: self.max_rows,
                threads: Some(1),
            };
            let (source, archive) = (sql_endpoint::source(&self.config), sql_endpoint::archive(&self.config));
            let engine = Engine::open_with(source, archive, options).await.map_err(told)?;
            let engine = engine.hiding(HIDDEN);
            let engine = match &self.recent {
                Some(recent) => engine.with_recent(recent.clone()),
                None => engine,
            };
            let threads = OwnThreads::of_queries(1);
            let threads = threads.map_err(|error| QueryError::Unavailable(format!("starting a thread: {error}")))?;
            Ok::<_, QueryError>((engine, threads))
        };
        self.opened.get_or_try_init(open).await
    }
}

#[async_trait]
impl Queries for TableQueries {
    async fn query(&self, sql: &str) -> Result<Rows, QueryError> {
        let (engine, threads) = self.opened().await?;
        if sql::names_log_lines(sql) {
            self.flush.ask(PATIENCE).await;
        }
        let (engine, text) = (engine.clone(), sql.to_owned());
        let query = threads.handle().spawn(async move { engine.query(&text).await });
        let abort = Aborted(query.abort_handle());
        let answered = query.await;
        drop(abort);
        let lost = |error: tokio::task::JoinError| QueryError::Unavailable(error.to_string());
        let (schema, batches) = answered.map_err(lost)?.map_err(told)?;
        let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = columns.iter().find(|name| !seen.insert(*name)) {
            return Err(QueryError::Refused(format!(
                "two columns are called {twice:?}: give each a name of its own with AS"
            )));
        }
        let types = schema.fields().iter().map(|field| field.data_type().to_string());
        Ok(Rows {
            rows: rows(&batches)?,
            types: types.collect(),
            columns,
        })
    }
}

/// Ends a query when whoever asked is gone.
struct Aborted(tokio::task::AbortHandle);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<Map<String, Value>>, QueryError> {
    let failed =
        |error: &dyn std::fmt::Display| QueryError::Refused(format!("the answer cannot be told as JSON: {error}"));
    let mut bytes = Vec::new();
    let mut writer: Writer<_, JsonArray> = WriterBuilder::new().build(&mut bytes);
    for batch in batches {
        writer.write(batch).map_err(|error| failed(&error))?;
    }
    writer.finish().map_err(|error| failed(&error))?;
    drop(writer);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}

fn told(error: SqlError) -> QueryError {
    match error {
        SqlError::Store(_) | SqlError::Archive(_) => QueryError::Unavailable(error.to_string()),
        other => QueryError::Refused(other.to_string()),
    }
}
