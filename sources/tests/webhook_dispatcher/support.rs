//! A dispatcher over a log in memory that fails on demand.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use model::{RawEvent, topics};
use sources::webhook::{WebhookSettings, router};
use stream::log::memory::MemoryLog;
use stream::log::{
    Bounds, Log, LogError, LogId, Member, NewRecord, Offset, Reader, Retention, Topic, TopicPartition, TopicSpec,
};
use stream::time::ManualClock;
use stream::{Ingress, Instant};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// The receive time of every request.
pub const NOW: Instant = Instant(1_795_423_707_022_436);

/// What happens to an append.
#[derive(Clone, Copy, Debug)]
pub enum Append {
    /// It is written.
    Writes,
    /// Nothing is written, and the log says so.
    Refused,
    /// It is written and the answer is lost.
    AnswerLost,
    /// As when the record is over the log's own limit.
    TooLarge,
}

/// A log in memory with scripted appends and a gate before each of them.
pub struct FaultyLog {
    pub inner: MemoryLog,
    script: Mutex<VecDeque<Append>>,
    /// One permit lets one append through.
    pub gate: Semaphore,
    /// A permit for each append that has come to the gate.
    pub arrived: Semaphore,
}

impl FaultyLog {
    /// Follows `script`; after its end everything is written. The gate is open.
    pub fn new(script: impl IntoIterator<Item = Append>) -> Arc<Self> {
        let script = Mutex::new(script.into_iter().collect());
        let gate = Semaphore::new(Semaphore::MAX_PERMITS);
        Arc::new(FaultyLog {
            inner: MemoryLog::new(),
            script,
            gate,
            arrived: Semaphore::new(0),
        })
    }

    /// The gate is closed: add permits to let appends through.
    pub fn gated() -> Arc<Self> {
        let gate = Semaphore::new(0);
        Arc::new(FaultyLog {
            inner: MemoryLog::new(),
            script: Mutex::default(),
            gate,
            arrived: Semaphore::new(0),
        })
    }

    /// Waits until `count` appends have come to the gate.
    pub async fn arrived(&self, count: u32) {
        within(self.arrived.acquire_many(count)).await.unwrap().forget();
    }

    /// Everything stored.
    pub async fn events(&self) -> Vec<RawEvent> {
        let mut events = Vec::new();
        for partition in 0..self.inner.partitions(topics::EVENTS_RAW).await.unwrap() {
            let partition = TopicPartition::new(topics::EVENTS_RAW, partition);
            let end = self.inner.bounds(&partition).await.unwrap().end;
            let (mut reader, mut at) = (self.inner.reader(&partition, Offset(0)).await.unwrap(), Offset(0));
            while at < end {
                let (records, next) = reader.read(1000, Duration::from_secs(5)).await.unwrap();
                assert!(next > at, "the reader stands at {at:?} before the end {end:?}");
                at = next;
                events.extend(
                    records
                        .into_iter()
                        .map(|record| RawEvent::from_record(&record.headers, record.value, record.timestamp.0)),
                );
            }
        }
        events
    }
}

#[async_trait]
impl Log for FaultyLog {
    fn id(&self) -> LogId {
        self.inner.id()
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<(), LogError> {
        self.inner.ensure_topics(topics).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.inner.partitions(topic).await
    }

    async fn append(&self, to: &TopicPartition, records: Vec<NewRecord>) -> Result<Offset, LogError> {
        self.arrived.add_permits(1);
        self.gate.acquire().await.unwrap().forget();
        let lost = || LogError::Unavailable {
            doing: "appending".into(),
            cause: "scripted".into(),
        };
        let act = self.script.lock().unwrap().pop_front().unwrap_or(Append::Writes);
        match act {
            Append::Writes => self.inner.append(to, records).await,
            Append::Refused => Err(lost()),
            Append::AnswerLost => {
                self.inner.append(to, records).await?;
                Err(lost())
            }
            Append::TooLarge => Err(LogError::TooLarge { size: 2, limit: 1 }),
        }
    }

    async fn join(&self, group: &str, topics: &[Topic]) -> Result<Box<dyn Member>, LogError> {
        self.inner.join(group, topics).await
    }

    async fn reader(&self, partition: &TopicPartition, from: Offset) -> Result<Box<dyn Reader>, LogError> {
        self.inner.reader(partition, from).await
    }

    async fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError> {
        self.inner.bounds(partition).await
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>, LogError> {
        self.inner.committed(group, partition).await
    }
}

/// An entry to `log`, where `limit` bytes may wait.
pub async fn ingress(log: &Arc<FaultyLog>, limit: usize) -> Ingress {
    let topic = TopicSpec {
        name: topics::EVENTS_RAW.into(),
        partitions: 4,
        retention: Retention::default(),
    };
    log.ensure_topics(&[topic]).await.unwrap();
    Ingress::open(log.clone(), topics::EVENTS_RAW, limit).await.unwrap()
}

/// The dispatcher's routes over `log`.
pub async fn app(log: &Arc<FaultyLog>, settings: &WebhookSettings) -> Router {
    let clock = Arc::new(ManualClock::at(NOW));
    router(settings, ingress(log, 64 << 20).await, None, clock).unwrap()
}

/// An answer, read.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// Null when the body is no JSON.
    pub body: serde_json::Value,
}

/// Sends one request through `app`.
pub async fn send(app: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

/// The answer of `future`, which must come within ten seconds.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("no answer within ten seconds")
}

/// A captured request: headers and raw body.
pub struct Capture {
    pub name: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Every captured request of Alertmanager.
pub fn captures() -> Vec<Capture> {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut captures = Vec::new();
    for folder in ["alertmanager", "alertmanager-grouped", "flaky"] {
        for file in std::fs::read_dir(fixtures.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let capture: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            captures.push(Capture {
                name: path.display().to_string(),
                headers: serde_json::from_value(capture["headers"].clone()).unwrap(),
                body: capture["raw_body"].as_str().unwrap().to_owned(),
            });
        }
    }
    assert_eq!(captures.len(), 23);
    captures
}
