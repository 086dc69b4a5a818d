//! The dead-man's switch: `[heartbeat] url` is called only while a canary alert travels dispatcher → incident → sink in time.
//!
//! A canary is a real alert over HTTP to our own dispatcher, with environment [`CANARY`] and a name of its own, and it has arrived when its
//! member stands in the store. If it does not, the log tells how far it came, and the hop behind that is named: `dispatcher` (the request
//! failed), `normalize`, `dedupe`, `correlate`, `sink`; in the log, in `aegis_heartbeat_failures_total` and in `/readyz`. Then the URL is not
//! called, and whoever waits for it raises the alarm.
//!
//! Not watched: whether people are told. Nobody is told of canaries.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use gateway::Readiness;
use model::incident::CANARY;
use model::topics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinks::notify::{Failed, Http};
use sinks::sql::Store;
use stream::human::HumanDuration;
use stream::secret::Secret;
use stream::{Clock, Log, Offset, TopicPartition};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::World;

/// How often the store is asked. More often: more questions per canary. Less: an arrival is seen later, never missed.
const LOOK: Duration = Duration::from_millis(200);
/// For finding out how far a lost canary came.
const SEARCH_TIME: Duration = Duration::from_secs(10);
/// For the call of the URL, and for the canary's own request.
const CALL_TIME: Duration = Duration::from_secs(10);
/// The line in `/readyz`.
const LINE: &str = "heartbeat";

/// The dead-man's switch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeartbeatSettings {
    /// Called (POST) while alerts get through. Empty: no heartbeat and no canaries. Services that wait for it put a key into it, so it is
    /// a secret.
    pub url: Secret,
    /// How often a canary is sent.
    pub every: HumanDuration,
    /// How long a canary may take from the dispatcher to the store.
    pub bound: HumanDuration,
}

impl Default for HeartbeatSettings {
    fn default() -> Self {
        HeartbeatSettings {
            url: Secret::default(),
            every: HumanDuration::from_secs(60),
            bound: HumanDuration::from_secs(30),
        }
    }
}

impl HeartbeatSettings {
    /// Every fault, as key below `heartbeat` and problem.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let url = self.url.expose();
        if !url.is_empty() && !url.starts_with("https://") && !url.starts_with("http://") {
            faults.push(("url", "it must start with https:// or http://".to_owned()));
        }
        if self.every.get().is_zero() {
            faults.push(("every", "it is 0: write for example \"60s\"".to_owned()));
        }
        if self.bound.get().is_zero() {
            faults.push(("bound", "it is 0: write for example \"30s\"".to_owned()));
        }
        faults
    }
}

/// What a beat needs.
pub struct Heartbeat {
    settings: HeartbeatSettings,
    dispatcher: SocketAddr,
    token: Option<Secret>,
    /// The label that names the environment here.
    label: String,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    store: Store,
    http: Http,
    readiness: Readiness,
}

impl Heartbeat {
    /// `None` without a URL.
    pub fn new(world: &World, dispatcher: SocketAddr, readiness: &Readiness) -> anyhow::Result<Option<Self>> {
        if world.config.heartbeat.url.is_empty() {
            return Ok(None);
        }
        let mut dispatcher = dispatcher;
        if dispatcher.ip().is_unspecified() {
            dispatcher.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        Ok(Some(Heartbeat {
            settings: world.config.heartbeat.clone(),
            dispatcher,
            token: world.config.dispatcher_token().cloned(),
            // Checked with the configuration.
            label: world
                .config
                .normalize
                .environment_labels
                .first()
                .cloned()
                .unwrap_or_default(),
            log: world.runtime.log.clone(),
            clock: world.runtime.clock.clone(),
            store: world.store.clone(),
            http: Http::new().map_err(anyhow::Error::msg)?,
            readiness: readiness.clone(),
        }))
    }

    /// Beats until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut beats = tokio::time::interval(self.settings.every.get());
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = async { beats.tick().await; self.beat().await } => {}
            }
        }
    }

    async fn beat(&self) {
        match self.canary().await {
            Ok(took) => {
                metrics::histogram!("aegis_canary_seconds").record(took.as_secs_f64());
                self.readiness.running(LINE);
                let called = self
                    .http
                    .post(self.settings.url.expose(), &[], b"{}".to_vec(), CALL_TIME)
                    .await;
                match called {
                    Ok(_) => metrics::counter!("aegis_heartbeats_total").increment(1),
                    Err(failed) => tracing::error!(detail = failed.detail(), "the heartbeat URL cannot be called"),
                }
            }
            Err((hop, detail)) => {
                metrics::counter!("aegis_heartbeat_failures_total", "hop" => hop).increment(1);
                tracing::error!(hop, detail, "a canary did not get through: no heartbeat");
                self.readiness
                    .stopped(LINE, format!("a canary stopped at {hop}: {detail}"));
            }
        }
    }

    /// Sends one and waits for it. The time it took, or the hop that failed.
    async fn canary(&self) -> Result<Duration, (&'static str, String)> {
        let name = format!("AegisCanary-{}", Uuid::now_v7().simple());
        let starts_at = self.clock.now().to_datetime();
        let travelled = self.travel(&name, starts_at).await;
        if let Err(failed) = self.send(&name, starts_at, Some(self.clock.now().to_datetime())).await {
            tracing::debug!(detail = failed.detail(), "the end of a canary was not taken");
        }
        travelled
    }

    async fn travel(&self, name: &str, starts_at: DateTime<Utc>) -> Result<Duration, (&'static str, String)> {
        let began = Instant::now();
        let deadline = began + self.settings.bound.get();
        let ends = tokio::time::timeout_at(deadline, self.ends()).await;
        let ends = ends.map_err(|_| ("dispatcher", "the log does not answer".to_owned()))?;
        let ends = ends.map_err(|error| ("dispatcher", format!("the log does not answer: {error}")))?;
        let sent = self.send(name, starts_at, None).await;
        sent.map_err(|failed| ("dispatcher", failed.detail().to_owned()))?;
        let mut looks = tokio::time::interval(LOOK);
        let mut trouble = String::new();
        while Instant::now() < deadline {
            looks.tick().await;
            let look = self.store.canary_arrived(CANARY, name, starts_at);
            match tokio::time::timeout_at(deadline, look).await {
                Ok(Ok(true)) => return Ok(began.elapsed()),
                Ok(Ok(false)) => trouble.clear(),
                Ok(Err(error)) => trouble = format!("; {error}"),
                Err(_) => trouble = "; the store does not answer".to_owned(),
            }
        }
        let hop = self.lost_at(name, ends).await;
        Err((hop, format!("not in the store after {}{trouble}", self.settings.bound)))
    }

    /// The canary, or its end: an alert that never ends would be remembered for ever.
    async fn send(&self, name: &str, starts_at: DateTime<Utc>, ends_at: Option<DateTime<Utc>>) -> Result<(), Failed> {
        let status = if ends_at.is_some() { "resolved" } else { "firing" };
        let ends_at = ends_at.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |at| at.to_rfc3339());
        // A warning, because an information opens no incident; without a service, which would tie it to the one before.
        let labels = serde_json::json!({"alertname": name, "severity": "warning", self.label.as_str(): CANARY});
        let body = serde_json::json!({
            "version": "4", "groupKey": name, "status": status, "receiver": CANARY, "truncatedAlerts": 0,
            "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "",
            "alerts": [{"status": status, "labels": labels, "annotations": {}, "startsAt": starts_at.to_rfc3339(),
                        "endsAt": ends_at, "generatorURL": "", "fingerprint": name}],
        });
        let url = format!("http://{}/webhooks/alertmanager", self.dispatcher);
        let token = self.token.as_ref();
        let headers: Vec<_> = token
            .map(|token| ("authorization", format!("Bearer {}", token.expose())))
            .into_iter()
            .collect();
        let limit = CALL_TIME.min(self.settings.bound.get());
        self.http
            .post(&url, &headers, body.to_string().into_bytes(), limit)
            .await
            .map(drop)
    }

    /// Where the topics that a canary passes end now.
    async fn ends(&self) -> Result<Vec<(&'static str, TopicPartition, Offset)>, stream::LogError> {
        let mut ends = Vec::new();
        for (hop, topic) in HOPS {
            for partition in 0..self.log.partitions(topic).await? {
                let at = TopicPartition::new(*topic, partition);
                let end = self.log.bounds(&at).await?.end;
                ends.push((*hop, at, end));
            }
        }
        Ok(ends)
    }

    /// The first hop that did not write it.
    async fn lost_at(&self, name: &str, ends: Vec<(&'static str, TopicPartition, Offset)>) -> &'static str {
        let deadline = Instant::now() + SEARCH_TIME;
        for (hop, _) in HOPS {
            let mut found = false;
            for (_, at, from) in ends.iter().filter(|(of, ..)| of == hop) {
                let search = tokio::time::timeout_at(deadline, self.stands(name, at, *from)).await;
                found |= matches!(search, Ok(Ok(true)));
            }
            if !found {
                return hop;
            }
        }
        "sink"
    }

    async fn stands(&self, name: &str, at: &TopicPartition, from: Offset) -> Result<bool, stream::LogError> {
        let end = self.log.bounds(at).await?.end;
        let mut reader = self.log.reader(at, from).await?;
        let mut next = from;
        while next < end {
            let (records, to) = reader.read(1_000, Duration::from_millis(500)).await?;
            let holds = |value: &[u8]| value.windows(name.len()).any(|part| part == name.as_bytes());
            if records.iter().any(|record| holds(&record.value)) {
                return Ok(true);
            }
            if to == next {
                break;
            }
            next = to;
        }
        Ok(false)
    }
}

/// Who writes what, in the order of the dataflow.
const HOPS: &[(&str, &str)] = &[
    ("dispatcher", topics::EVENTS_RAW),
    ("normalize", topics::SIGNALS),
    ("dedupe", topics::TRANSITIONS),
    ("correlate", topics::INCIDENTS),
];
