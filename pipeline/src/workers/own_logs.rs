//! Our own store of log lines as an observing tool: what was pushed here, out of the archive.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use model::Level;
use sinks::archive::Flush;
use sql::logs::{self, LogLabel};
use tools::ToolError;
use tools::observe::{LabelAnswer, LabelQuery, LogAnswer, LogLine, LogQuery, Logs};
use tools::redact::{in_text, redact};

use crate::config::Config;

/// How long the archive may take to write what waits before it is read without it.
const PATIENCE: Duration = Duration::from_millis(1_500);

pub struct OwnLogs {
    store: sql::SqlSourceConfig,
    archive: PathBuf,
    flush: Arc<Flush>,
}

impl OwnLogs {
    pub fn new(config: &Config, flush: Arc<Flush>) -> Self {
        OwnLogs {
            store: sql::SqlSourceConfig {
                url: config.store_url(),
                password: config.store.password.clone(),
            },
            archive: config.archive_dir(),
            flush,
        }
    }
}

const TOOL: &str = "aegis";

/// Values of a label that are handed on.
const VALUES: usize = 500;

impl OwnLogs {
    async fn engine(&self) -> Result<sql::Engine, ToolError> {
        self.flush.ask(PATIENCE).await;
        let engine = sql::Engine::open(self.store.clone(), Some(self.archive.clone())).await;
        engine.map_err(|error| failed(&error))
    }
}

fn failed(error: &dyn std::fmt::Display) -> ToolError {
    ToolError::DidNotHappen {
        tool: TOOL,
        cause: error.to_string(),
        retry: true,
    }
}

#[async_trait]
impl Logs for OwnLogs {
    fn name(&self) -> &'static str {
        TOOL
    }

    async fn search(&self, query: &LogQuery) -> Result<LogAnswer, ToolError> {
        let level = match &query.min_level {
            None => None,
            Some(word) => Some(level_of(word).ok_or_else(|| ToolError::Refused {
                tool: TOOL,
                cause: format!("{word:?} is no level"),
            })?),
        };
        let asked = logs::LogQuery {
            service: Some(query.service.clone()),
            from: Some(query.from.timestamp_micros()),
            until: Some(query.to.timestamp_micros()),
            level,
            text: query.contains.clone(),
            limit: query.limit as usize,
            ..logs::LogQuery::default()
        };
        let engine = self.engine().await?;
        let found = engine.logs(&asked).await.map_err(|error| failed(&error))?;
        let mut lines: Vec<LogLine> = found
            .rows
            .into_iter()
            .filter_map(|row| {
                Some(LogLine {
                    at: DateTime::parse_from_rfc3339(&row.at).ok()?.to_utc(),
                    level: Some(row.level),
                    text: redact(&row.text),
                    secrets: in_text(&row.text, "the line"),
                })
            })
            .collect();
        // Newest first, as asked.
        lines.reverse();
        let least = query.min_level.as_deref().unwrap_or("any level");
        Ok(LogAnswer {
            query: format!(
                "logs of {:?}, {least}, from {} to {}",
                query.service, query.from, query.to
            ),
            lines,
            cut: found.more,
        })
    }

    async fn labels(&self, query: &LabelQuery) -> Result<LabelAnswer, ToolError> {
        let names = LogLabel::ALL.map(LogLabel::as_str);
        let Some(name) = &query.name else {
            return Ok(LabelAnswer {
                values: names.map(str::to_owned).to_vec(),
                cut: false,
            });
        };
        let label = LogLabel::ALL.into_iter().find(|label| label.as_str() == name);
        let label = label.ok_or_else(|| ToolError::Refused {
            tool: TOOL,
            cause: format!("there is no label {name:?}; there are {}", names.join(", ")),
        })?;
        let asked = logs::LogQuery {
            from: Some(query.from.timestamp_micros()),
            until: Some(query.to.timestamp_micros()),
            limit: VALUES,
            ..logs::LogQuery::default()
        };
        let found = self.engine().await?.log_values(label, &asked).await;
        let found = found.map_err(|error| failed(&error))?;
        Ok(LabelAnswer {
            values: found.rows,
            cut: found.more,
        })
    }
}

fn level_of(word: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.as_str() == word)
}
