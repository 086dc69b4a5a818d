//! Reads of the store, each asked once by all who want it at the same time, on any instance.
//!
//! An answer is kept under the mark of the changes that this instance has heard of (`gateway::Changes`), so a change that it hears of makes it
//! ask anew; a change that nobody told it of shows after `shared.cache_ttl`. Where Redis is away, each instance asks the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use gateway::{
    Changes, IncidentDetail, IncidentFilter, IncidentReads, IncidentView, LetterView, Page, ReadError, RemediationView,
    ResponseFilter, ResponseReads, SimilarAnswer, StepView,
};
use model::IncidentId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use shared::{Cached, Shared};
use uuid::Uuid;

use super::StoreReads;

/// How long one waits for what another instance is asking already. Longer: an instance that dies while it asks costs the others more.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module's header.
pub struct CachedReads {
    inner: StoreReads,
    cached: Cached,
    changes: Arc<Changes>,
}

impl CachedReads {
    pub fn new(inner: StoreReads, shared: &Shared, ttl: Duration, changes: Arc<Changes>) -> Self {
        CachedReads {
            inner,
            cached: Cached::new(shared.cache.clone(), ttl, PATIENCE),
            changes,
        }
    }

    /// `what` and `asked` name the question.
    async fn get<T, F>(&self, what: &str, asked: String, read: impl Fn() -> F) -> Result<T, ReadError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, ReadError>>,
    {
        let digest = Sha256::digest(asked.as_bytes());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let key = format!("reads:{}:{what}:{digest}", self.changes.mark());
        let make = async {
            let read = read().await?;
            let bytes = serde_json::to_vec(&read).map_err(|error| ReadError::Failed(error.to_string()))?;
            Ok(Bytes::from(bytes))
        };
        let answer = self.cached.get_or(&key, make).await?;
        match serde_json::from_slice(&answer) {
            Ok(answer) => Ok(answer),
            // Of another version, or of nobody we know.
            Err(error) => {
                tracing::warn!(%error, what, "an answer in the cache is none: the store is asked");
                read().await
            }
        }
    }
}

fn page(page: Page) -> String {
    format!("{} {}", page.limit, page.offset)
}

#[async_trait]
impl IncidentReads for CachedReads {
    async fn incidents(&self, filter: &IncidentFilter, cut: Page) -> Result<Vec<IncidentView>, ReadError> {
        let asked = format!("{filter:?} {}", page(cut));
        self.get("incidents", asked, || self.inner.incidents(filter, cut)).await
    }

    async fn incident(&self, id: IncidentId) -> Result<Option<IncidentDetail>, ReadError> {
        self.get("incident", id.0.to_string(), || self.inner.incident(id)).await
    }

    // Not kept: an answer also rests on vectors, which come when they come.
    async fn similar(&self, id: IncidentId, limit: u32) -> Result<Option<SimilarAnswer>, ReadError> {
        self.inner.similar(id, limit).await
    }

    async fn similar_to(&self, text: &str, limit: u32) -> Result<SimilarAnswer, ReadError> {
        self.inner.similar_to(text, limit).await
    }
}

#[async_trait]
impl ResponseReads for CachedReads {
    async fn steps(&self, filter: &ResponseFilter, cut: Page) -> Result<Vec<StepView>, ReadError> {
        let asked = format!("{filter:?} {}", page(cut));
        self.get("steps", asked, || self.inner.steps(filter, cut)).await
    }

    async fn step(&self, id: Uuid) -> Result<Option<StepView>, ReadError> {
        self.get("step", id.to_string(), || self.inner.step(id)).await
    }

    async fn remediations(&self, filter: &ResponseFilter, cut: Page) -> Result<Vec<RemediationView>, ReadError> {
        let asked = format!("{filter:?} {}", page(cut));
        self.get("remediations", asked, || self.inner.remediations(filter, cut))
            .await
    }

    async fn remediation(&self, id: Uuid) -> Result<Option<RemediationView>, ReadError> {
        self.get("remediation", id.to_string(), || self.inner.remediation(id))
            .await
    }

    async fn letters(&self, status: Option<&str>, cut: Page) -> Result<Vec<LetterView>, ReadError> {
        let asked = format!("{status:?} {}", page(cut));
        self.get("letters", asked, || self.inner.letters(status, cut)).await
    }
}
