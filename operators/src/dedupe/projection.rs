//! Public projections: changes to `deployments`, security signals to `compliance`, one JSON record per new signal.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::{Severity, SignalId, SignalKind, SignalRow, topics};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stream::log::NewRecord;
use stream::time::Instant;

/// Payload of `deployments` and `compliance` (JSON, schema 1). Key: the service, else the dedup key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployment {
    pub schema: u32,
    pub id: SignalId,
    pub dedup_key: String,
    pub tenant: String,
    pub environment: String,
    pub source: String,
    pub severity: Severity,
    pub title: String,
    pub description: Option<String>,
    pub service: Option<String>,
    pub cluster: Option<String>,
    pub namespace: Option<String>,
    /// When it happened, by the sender's clock.
    pub at: DateTime<Utc>,
    pub observed_at: DateTime<Utc>,
    /// The sender's labels, annotations and whatever else it said (version, actor, commit), as they came.
    pub labels: Box<RawValue>,
    pub annotations: Box<RawValue>,
    pub extra: Option<Box<RawValue>>,
}

impl Deployment {
    pub const SCHEMA: u32 = 1;

    fn of(row: &SignalRow<'_>) -> Result<Self, serde_json::Error> {
        Ok(Deployment {
            schema: Self::SCHEMA,
            id: row.id,
            dedup_key: row.dedup_key.to_owned(),
            tenant: row.tenant.to_owned(),
            environment: row.environment.to_owned(),
            source: row.source.to_owned(),
            severity: row.severity,
            title: row.title.to_owned(),
            description: row.description.map(str::to_owned),
            service: row.service.map(str::to_owned),
            cluster: row.cluster.map(str::to_owned),
            namespace: row.namespace.map(str::to_owned),
            at: Instant(row.event_at).to_datetime(),
            observed_at: Instant(row.observed_at).to_datetime(),
            labels: json(row.labels)?,
            annotations: json(row.annotations)?,
            extra: row.extra.map(json).transpose()?,
        })
    }
}

/// The topic, key and record for a signal that has a public projection.
pub fn project(row: &SignalRow<'_>) -> Option<(&'static str, Bytes, NewRecord)> {
    let topic = match row.kind {
        SignalKind::Change => topics::DEPLOYMENTS,
        SignalKind::Security => topics::COMPLIANCE,
        SignalKind::Alert | SignalKind::ClusterEvent | SignalKind::LogPattern => return None,
    };
    // Serialising strings and checked JSON cannot fail.
    let value = Deployment::of(row)
        .and_then(|deployment| serde_json::to_vec(&deployment))
        .ok()?;
    let key = row.service.unwrap_or(row.dedup_key);
    Some((
        topic,
        Bytes::copy_from_slice(key.as_bytes()),
        NewRecord {
            value: value.into(),
            ..NewRecord::default()
        },
    ))
}

/// A JSON column as it is; one that is not JSON (a producer wrote the topic by hand) as a string, so nothing is lost.
fn json(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    RawValue::from_string(text.to_owned()).or_else(|_| serde_json::value::to_raw_value(text))
}
