//! Similar past incidents: the vectors of this process, and the answers for REST, the command line and Slack.
//!
//! What is alike is asked of the vectors, and what became of it of the tables, so an answer tells of the newest outcome and nothing is written
//! twice. Nothing of it is on the log: vectors are a projection, and an answer a function of both (`docs/adr/0042-vectors.md`).

mod door;
mod keeper;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use embedding::{FilesError, ModelsSettings};
use gateway::{Fix, MatchedFeature, ReadError, SimilarAnswer, SimilarIncident};
use model::remediation::RemediationStatus;
use sinks::sql::{RemediationRow, ResponseFilter, Store, StoreError};
use tokio::sync::watch;
use uuid::Uuid;
use vectors::{Backlog, Engine, Neighbour, Subject, VectorStore, VectorsSettings};

pub use door::{ModelRequest, SimilarRequest, answer, routes};
pub use keeper::keep;

use crate::config::Config;

/// Alerts of an incident that are compared, and titles that are embedded: more say nothing new.
const MOST_MEMBERS: usize = 32;
/// Remediations of an incident that are looked at.
const MOST_REMEDIATIONS: u32 = 20;

/// The vectors of this process. Clones share them.
#[derive(Clone)]
pub struct Similar {
    inner: Arc<Inner>,
}

struct Inner {
    vectors: VectorsSettings,
    models: ModelsSettings,
    data_dir: PathBuf,
    tables: Store,
    store: Arc<dyn VectorStore>,
    /// `None` until the chosen model could be described.
    engine: Mutex<Option<Arc<Engine>>>,
    /// Rises when another model is chosen.
    chosen: watch::Sender<u64>,
    backlog: Backlog,
    behind: AtomicU64,
}

/// Why another model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    #[error("models.model = {0:?} in the configuration decides: change it there, or take it out")]
    Configured(String),
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl Similar {
    /// Those that the configuration asks for; `None` where it asks for none. Opens nothing: the store is opened by the first question, the
    /// model loaded with the first text.
    pub fn open(config: &Config, tables: &Store) -> anyhow::Result<Option<Similar>> {
        if !config.vectors.enabled {
            return Ok(None);
        }
        let inner = Inner {
            vectors: config.vectors.clone(),
            models: config.models.clone(),
            data_dir: config.data.dir.clone(),
            tables: tables.clone(),
            store: config.vectors.open(&config.data.dir)?,
            engine: Mutex::new(None),
            chosen: watch::Sender::new(0),
            backlog: Backlog::default(),
            behind: AtomicU64::new(0),
        };
        Ok(Some(Similar { inner: Arc::new(inner) }))
    }

    /// The chosen model before the store.
    pub fn engine(&self) -> Result<Arc<Engine>, FilesError> {
        let inner = &self.inner;
        let mut engine = inner.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = &*engine {
            return Ok(engine.clone());
        }
        let name = inner.models.chosen(&inner.data_dir);
        let model = Arc::new(inner.models.open(&inner.data_dir, &name)?);
        let made = Arc::new(Engine::new(model, inner.store.clone(), &inner.vectors.prefix));
        *engine = Some(made.clone());
        Ok(made)
    }

    /// From now on, and after every start: model `name`. Its collection is filled by reading the log again; that of the model before it stays.
    pub fn use_model(&self, name: &str) -> Result<(), UseError> {
        let inner = &self.inner;
        choose(&inner.models, &inner.data_dir, name)?;
        *inner.engine.lock().unwrap_or_else(PoisonError::into_inner) = None;
        inner.chosen.send_modify(|times| *times += 1);
        Ok(())
    }

    /// Past incidents like incident `id`; `None` if there is no such incident.
    pub async fn of_incident(&self, id: Uuid, limit: u32) -> Result<Option<SimilarAnswer>, ReadError> {
        let Some(detail) = self.inner.tables.incident(id).await.map_err(of_tables)? else {
            return Ok(None);
        };
        let row = detail.incident;
        let members = detail.members.iter().take(MOST_MEMBERS);
        let subject = Subject {
            id: Some(row.id),
            tenant: Some(row.tenant),
            environment: row.environment,
            service: row.service.unwrap_or_default(),
            title: row.title,
            titles: members.clone().map(|member| member.title.clone()).collect(),
            alerts: members.map(|member| member.dedup_key.clone()).collect(),
            before: Some(row.created_at),
        };
        self.answer(subject, limit).await.map(Some)
    }

    /// Past incidents like a text.
    pub async fn of_text(&self, text: &str, limit: u32) -> Result<SimilarAnswer, ReadError> {
        let subject = Subject {
            title: text.to_owned(),
            ..Subject::default()
        };
        self.answer(subject, limit).await
    }

    async fn answer(&self, subject: Subject, limit: u32) -> Result<SimilarAnswer, ReadError> {
        let away = |error: &dyn std::fmt::Display| ReadError::Unavailable(error.to_string());
        let engine = self.engine().map_err(|error| away(&error))?;
        let near = engine
            .near(&subject, limit as usize)
            .await
            .map_err(|error| away(&error))?;
        let mut similar = Vec::with_capacity(near.len());
        for neighbour in near {
            similar.extend(self.told(neighbour).await?);
        }
        let about = engine.model().info();
        let troubles: Vec<String> = self.inner.backlog.troubles().into_values().collect();
        Ok(SimilarAnswer {
            similar,
            model: format!("{} {}", about.id, about.hash.get(..12).unwrap_or(&about.hash)),
            behind: self.inner.behind.load(Ordering::Relaxed),
            degraded: troubles.into_iter().next(),
        })
    }

    /// A neighbour with what became of it; `None` where the tables do not have it (any more).
    async fn told(&self, neighbour: Neighbour) -> Result<Option<SimilarIncident>, ReadError> {
        let tables = &self.inner.tables;
        let Some(row) = tables.incident_row(neighbour.id).await.map_err(of_tables)? else {
            return Ok(None);
        };
        let filter = ResponseFilter {
            incident: Some(row.id),
            ..ResponseFilter::default()
        };
        let rows = tables
            .remediations(&filter, MOST_REMEDIATIONS, 0)
            .await
            .map_err(of_tables)?;
        let mut fixes: Vec<Fix> = rows.into_iter().filter(carried_out).map(fix).collect();
        fixes.sort_by_key(|fix| fix.status != RemediationStatus::Verified.as_str());
        Ok(Some(SimilarIncident {
            id: row.id,
            score: neighbour.score,
            matched: neighbour
                .matched
                .into_iter()
                .map(|matched| MatchedFeature {
                    feature: matched.feature,
                    value: matched.value,
                })
                .collect(),
            title: row.title,
            service: row.service,
            environment: row.environment,
            severity: row.severity,
            status: row.status,
            created_at: row.created_at,
            resolved_at: row.resolved_at,
            resolved_by: row.resolved_by,
            root_cause: row.root_cause,
            resolution: row.resolution,
            fixes,
        }))
    }
}

/// Remembers `name` as the model to use, if there is such a model and the configuration leaves the choice.
pub fn choose(models: &ModelsSettings, data_dir: &std::path::Path, name: &str) -> Result<(), UseError> {
    if !models.model.is_empty() && models.model != name {
        return Err(UseError::Configured(models.model.clone()));
    }
    models.describe(data_dir, name)?;
    Ok(models.choose(data_dir, name)?)
}

fn carried_out(row: &RemediationRow) -> bool {
    [
        RemediationStatus::Executed,
        RemediationStatus::Verified,
        RemediationStatus::Unverified,
        RemediationStatus::RolledBack,
    ]
    .iter()
    .any(|status| status.as_str() == row.status)
}

fn fix(row: RemediationRow) -> Fix {
    Fix {
        remediation: row.id,
        action: row.action_type,
        target: row.target,
        namespace: row.namespace,
        status: row.status,
        note: row.note,
    }
}

fn of_tables(error: StoreError) -> ReadError {
    match error {
        StoreError::Unavailable { .. } => ReadError::Unavailable(error.to_string()),
        other => ReadError::Failed(other.to_string()),
    }
}
