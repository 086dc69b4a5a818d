//! The gateway's read side over the SQL store.

mod cached;
mod responses;

use async_trait::async_trait;
use gateway::{EventView, IncidentDetail, IncidentFilter, IncidentReads, IncidentView, Page, ReadError, SimilarAnswer};
use model::trace::trace_id;
use model::{CanonicalKey, EpisodeId, IncidentId, Member, SignalId};
use sinks::sql::{self, Store, StoreError};

use crate::similar::Similar;
pub use cached::CachedReads;

pub struct StoreReads {
    store: Store,
    similar: Option<Similar>,
}

impl StoreReads {
    pub fn new(store: Store) -> Self {
        StoreReads { store, similar: None }
    }

    /// Also shows past incidents that are like one.
    pub fn with_similar(self, similar: Option<Similar>) -> Self {
        StoreReads { similar, ..self }
    }

    fn vectors(&self) -> Result<&Similar, ReadError> {
        let off = || ReadError::Unavailable("vectors.enabled is false".to_owned());
        self.similar.as_ref().ok_or_else(off)
    }
}

#[async_trait]
impl IncidentReads for StoreReads {
    async fn incidents(&self, filter: &IncidentFilter, page: Page) -> Result<Vec<IncidentView>, ReadError> {
        let filter = sql::IncidentFilter {
            status: filter.status,
            severity: filter.severity,
            service: filter.service.clone(),
            text: filter.text.clone(),
            since: filter.since,
            until: filter.until,
            ..sql::IncidentFilter::default()
        };
        let rows = self
            .store
            .incidents(&filter, page.limit, page.offset)
            .await
            .map_err(failed)?;
        rows.into_iter().map(view).collect()
    }

    async fn incident(&self, id: IncidentId) -> Result<Option<IncidentDetail>, ReadError> {
        let Some(detail) = self.store.incident(id.0).await.map_err(failed)? else {
            return Ok(None);
        };
        Ok(Some(IncidentDetail {
            incident: view(detail.incident)?,
            members: detail.members.into_iter().map(member).collect::<Result<_, _>>()?,
            events: detail
                .events
                .into_iter()
                .map(|event| EventView {
                    revision: event.revision as u64,
                    at: event.at,
                    observed_at: event.observed_at,
                    fact: event.fact,
                    payload: event.payload,
                })
                .collect(),
        }))
    }

    async fn similar(&self, id: IncidentId, limit: u32) -> Result<Option<SimilarAnswer>, ReadError> {
        self.vectors()?.of_incident(id.0, limit).await
    }

    async fn similar_to(&self, text: &str, limit: u32) -> Result<SimilarAnswer, ReadError> {
        self.vectors()?.of_text(text, limit).await
    }
}

fn failed(error: StoreError) -> ReadError {
    match error {
        StoreError::Unavailable { .. } => ReadError::Unavailable(error.to_string()),
        other => ReadError::Failed(other.to_string()),
    }
}

/// The tables have checks for their words; another word means that somebody wrote into them by hand.
fn word<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, ReadError> {
    serde_json::from_value(serde_json::Value::from(word))
        .map_err(|_| ReadError::Failed(format!("{word:?} in the tables is no word of ours")))
}

fn view(row: sql::IncidentRow) -> Result<IncidentView, ReadError> {
    Ok(IncidentView {
        id: IncidentId(row.id),
        trace_id: trace_id(IncidentId(row.id)),
        canonical_key: CanonicalKey(row.canonical_key),
        revision: row.revision as u64,
        tenant: row.tenant,
        environment: row.environment,
        alert_id: row.alert_id,
        source: row.source,
        severity: word(&row.severity)?,
        status: word(&row.status)?,
        title: row.title,
        service: row.service,
        root_cause: row.root_cause,
        resolution: row.resolution,
        auto_resolved: row.auto_resolved,
        resolved_by: row.resolved_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        resolved_at: row.resolved_at,
        merged_into: row.merged_into.map(IncidentId),
        members: row.members as u32,
        firing: row.firing as u32,
        metadata: row.metadata,
    })
}

fn member(row: sql::MemberRow) -> Result<Member, ReadError> {
    Ok(Member {
        episode: EpisodeId(row.episode),
        signal: SignalId(row.signal_id),
        dedup_key: row.dedup_key,
        source: row.source,
        title: row.title,
        severity: word(&row.severity)?,
        service: row.service,
        namespace: None,
        starts_at: row.starts_at,
        ends_at: row.ends_at,
        rule: row.rule,
        key: row.link_key,
        linked_to: row.linked_to.map(EpisodeId),
        apart_ms: row.apart_ms,
    })
}
