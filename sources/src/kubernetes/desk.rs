//! Writes statements to the log. A statement that cannot be written is tried again until it can, or until the end.

use std::sync::Arc;
use std::time::Duration;

use model::RawEvent;
use model::kubernetes::{HEADER, Sighting};
use sha2::{Digest as _, Sha256};
use stream::time::Clock;
use stream::{Ingress, IngressError, NewRecord};
use tokio_util::sync::CancellationToken;

use super::NAME;
use super::memory::Statement;
use super::object::{redact, uid, version};

/// Between two tries at a log that is away. The watch waits meanwhile; the API server keeps what it missed.
const AGAIN: Duration = Duration::from_millis(500);

/// Where one watch writes.
#[derive(Clone)]
pub struct Desk {
    pub cluster: String,
    pub environment: String,
    pub ingress: Ingress,
    pub clock: Arc<dyn Clock>,
    pub stop: CancellationToken,
}

impl Desk {
    /// Microseconds since the epoch.
    pub fn now(&self) -> i64 {
        self.clock.now().0
    }

    /// Returns once all of it is durable, or it is time to stop. `false`: something was not written.
    pub async fn write(&self, resource: &'static str, statements: Vec<Statement>) -> bool {
        for statement in statements {
            let Some(record) = self.record(statement) else { continue };
            metrics::counter!("aegis_kubernetes_statements_total", "resource" => resource).increment(1);
            if !self.append(record).await {
                return false;
            }
        }
        true
    }

    async fn append(&self, (spread, record): (String, NewRecord)) -> bool {
        loop {
            let error = match self.ingress.append(spread.as_bytes(), record.clone()).await {
                Ok(_) => return true,
                Err(error) => error,
            };
            if let IngressError::Log(stream::LogError::TooLarge { limit, .. }) = error {
                // It never will be: the log takes no such record.
                tracing::warn!(
                    uid = spread,
                    limit,
                    "an object of Kubernetes is too large for the log, and left out"
                );
                metrics::counter!("aegis_kubernetes_errors_total", "resource" => "", "cause" => "too_large_for_log")
                    .increment(1);
                return true;
            }
            tracing::debug!(%error, "an object of Kubernetes is written again later");
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// The record, and what picks its partition: all that is said of an object stands in one, in order.
    fn record(&self, statement: Statement) -> Option<(String, NewRecord)> {
        let Statement { says, mut object } = statement;
        let uid = uid(&object)?.to_owned();
        let sighting = Sighting {
            cluster: self.cluster.clone(),
            environment: Some(self.environment.clone()).filter(|name| !name.is_empty()),
            says,
        };
        let sighting = serde_json::to_string(&sighting).ok()?;
        let delivery = delivery_key(&uid, version(&object), &sighting);
        redact(&mut object);
        let now = self.clock.now();
        let event = RawEvent {
            sender: NAME.to_owned(),
            received_at: now.0,
            delivery,
            verdict: "watch".to_owned(),
            content_type: "application/json".to_owned(),
            headers: vec![(HEADER.to_owned(), sighting)],
            body: serde_json::to_vec(&object).ok()?.into(),
        };
        let record = NewRecord {
            key: None,
            headers: event.to_headers(),
            value: event.body,
            timestamp: now,
        };
        Some((uid, record))
    }
}

/// The same for everybody who saw this version of the object and has the same to say of it.
fn delivery_key(uid: &str, version: &str, sighting: &str) -> String {
    let mut hash = Sha256::new();
    for part in [NAME, uid, version, sighting] {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
