//! The projection and what is asked of it: on a log in memory and Qdrant's engine, with stores and models that go away in the middle.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use embedding::{BUILTIN, EmbedError, Embedder, Model, ModelInfo, ModelsSettings};
use model::{
    CanonicalKey, EpisodeId, Fact, Incident, IncidentEvent, IncidentId, Member, Origin, Severity, Signal,
    SignalBatchBuilder, SignalId, SignalKind, SignalState, Status, Transition, TransitionKind, topics,
};
use serde_json::json;
use stream::driver::{Mode, Runtime, run_sink};
use stream::health::Health;
use stream::log::NewRecord;
use stream::log::memory::MemoryLog;
use stream::snapshot::FolderSnapshots;
use stream::task::DeadLetters;
use stream::time::WallClock;
use stream::{Clock, Log, TopicPartition, TopicSpec};
use support::unreliable::{Fault, Unreliable};
use support::{LONG, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vectors::{Backlog, EdgeStore, Engine, Filter, Projection, Reads, Subject};

/// A model that knows words: each has a direction.
struct Words(ModelInfo);

impl Embedder for Words {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let vector = |text: &String| {
            let mut vector = vec![0.01; self.0.dimensions];
            for word in text.to_lowercase().split_whitespace() {
                let direction = word
                    .bytes()
                    .fold(7usize, |sum, byte| sum.wrapping_mul(31) + byte as usize);
                vector[direction % self.0.dimensions] += 1.0;
            }
            vector
        };
        Ok(texts.iter().map(vector).collect())
    }
}

fn words(there: &Arc<AtomicBool>) -> Arc<Model> {
    let info = ModelInfo {
        id: "words".into(),
        hash: "ab".repeat(32),
        dimensions: 384,
    };
    let (about, there) = (info.clone(), there.clone());
    let load = move || match there.load(Ordering::SeqCst) {
        true => Ok(Box::new(Words(about.clone())) as Box<dyn Embedder>),
        false => Err(EmbedError::Load {
            model: "words".into(),
            cause: "it is away".into(),
        }),
    };
    Arc::new(Model::new(info, load, 100, LONG))
}

/// A log, a store and a model.
struct Bench {
    log: Arc<dyn Log>,
    store: Arc<Unreliable>,
    engine: Arc<Engine>,
    model_is_there: Arc<AtomicBool>,
    backlog: Backlog,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let topic = |name: &str| TopicSpec {
            name: name.into(),
            partitions: 1,
            retention: Default::default(),
        };
        let topics = [topics::INCIDENTS, topics::TRANSITIONS, topics::DEAD_LETTER].map(topic);
        log.ensure_topics(&topics).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let inner: Store = Arc::new(EdgeStore::new(&folder.path().join("vectors"), LONG));
        let store = Unreliable::over(inner);
        let model_is_there = Arc::new(AtomicBool::new(true));
        let engine = Arc::new(Engine::new(words(&model_is_there), store.clone(), "test"));
        Bench {
            log,
            store,
            engine,
            model_is_there,
            backlog: Backlog::default(),
            folder,
        }
    }

    fn runtime(&self) -> Runtime {
        Runtime {
            log: self.log.clone(),
            snapshots: Arc::new(FolderSnapshots::new(self.folder.path().join("snapshots"))),
            clock: Arc::new(WallClock),
            health: Health::default(),
            snapshot_every: LONG,
        }
    }

    fn start(&self, reads: Reads, mode: Mode, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let sink = Projection::new(reads, self.engine.clone(), clock, self.backlog.clone(), stop.clone());
        let letters = DeadLetters {
            topic: topics::DEAD_LETTER.into(),
            encode: Arc::new(|_| NewRecord::default()),
        };
        let running = run_sink(Box::new(sink), letters, self.runtime(), mode, stop.clone());
        tokio::spawn(async move { running.await.unwrap() })
    }

    /// Reads both topics to their ends.
    async fn catch_up(&self) {
        let stop = CancellationToken::new();
        for reads in [Reads::Alerts, Reads::Incidents] {
            self.start(reads, Mode::ToEnd { past: None }, &stop).await.unwrap();
        }
    }

    async fn append(&self, topic: &str, value: impl Into<Bytes>) {
        let record = NewRecord {
            value: value.into(),
            ..NewRecord::default()
        };
        self.log
            .append(&TopicPartition::new(topic, 0), vec![record])
            .await
            .unwrap();
    }

    async fn tell(&self, event: &IncidentEvent) {
        self.append(topics::INCIDENTS, serde_json::to_vec(event).unwrap()).await;
    }

    async fn count(&self, kind: &str) -> u64 {
        let filter = Filter::default().equal("kind", kind);
        self.store.set(Fault::None);
        vectors::VectorStore::count(self.store.as_ref(), self.engine.collection(), &filter)
            .await
            .unwrap()
    }

    async fn near(&self, subject: &Subject) -> Vec<(u128, Vec<String>)> {
        let found = self.engine.near(subject, 5).await.unwrap();
        let named = |found: &vectors::Neighbour| {
            let matched = found.matched.iter().filter(|m| m.feature != "vector");
            matched.map(|m| format!("{}:{}", m.feature, m.value)).collect()
        };
        found.iter().map(|found| (found.id.as_u128(), named(found))).collect()
    }
}

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000 + minute * 60, 0).unwrap()
}

fn member(key: &str, title: &str, service: &str, minute: i64) -> Member {
    Member {
        episode: EpisodeId::of(key, at(minute).timestamp_micros()),
        signal: SignalId::of(&[key.as_bytes()]),
        dedup_key: key.into(),
        source: "alertmanager".into(),
        title: title.into(),
        severity: Severity::Critical,
        service: Some(service.into()),
        namespace: None,
        starts_at: at(minute),
        ends_at: None,
        rule: "opened@1".into(),
        key: None,
        linked_to: None,
        apart_ms: None,
    }
}

/// Fact `revision` of incident `id`.
fn event(id: u128, revision: u64, title: &str, service: &str, minute: i64, fact: Fact) -> IncidentEvent {
    let incident = Incident {
        id: IncidentId(Uuid::from_u128(id)),
        canonical_key: CanonicalKey::default(),
        revision,
        tenant: "default".into(),
        environment: "production".into(),
        alert_id: "k".into(),
        source: "alertmanager".into(),
        severity: Severity::Critical,
        status: Status::Open,
        title: title.into(),
        service: Some(service.into()),
        created_at: at(minute),
        resolved_at: None,
        resolved_by: None,
        merged_into: match &fact {
            Fact::Merged { into } => Some(*into),
            _ => None,
        },
        members: 1,
        firing: 1,
        root_cause: None,
        resolution: None,
    };
    IncidentEvent {
        schema: IncidentEvent::SCHEMA,
        incident,
        fact,
        at: at(minute),
        observed_at: at(minute),
        origin: None,
    }
}

fn opened(id: u128, key: &str, title: &str, service: &str, minute: i64) -> IncidentEvent {
    let member = member(key, title, service, minute);
    event(id, 1, title, service, minute, Fact::Opened { member })
}

fn signal(
    key: &str,
    title: &str,
    kind: SignalKind,
    labels: serde_json::Value,
    annotations: serde_json::Value,
) -> Signal {
    Signal {
        id: SignalId::of(&[key.as_bytes()]),
        tenant: "default".into(),
        environment: "production".into(),
        source: "alertmanager".into(),
        kind,
        state: SignalState::Firing,
        dedup_key: key.into(),
        dedup_rule: "alertmanager/fingerprint@1".into(),
        event_at: at(0).timestamp_micros(),
        observed_at: at(0).timestamp_micros(),
        effective_at: at(0).timestamp_micros(),
        ends_at: None,
        severity: Severity::Critical,
        title: title.into(),
        description: None,
        service: Some("api".into()),
        cluster: None,
        namespace: None,
        group: None,
        labels: labels.to_string(),
        annotations: annotations.to_string(),
        extra: None,
        digest: 1,
        origin: Origin::default(),
        transition: Some(Transition {
            kind: TransitionKind::New,
            episode: EpisodeId::of(key, 1),
            repeats: 0,
        }),
    }
}

fn batch(signals: &[Signal]) -> Vec<u8> {
    let mut builder = SignalBatchBuilder::new();
    signals.iter().for_each(|signal| builder.push(&signal.row()));
    builder.finish().unwrap().encode().unwrap()
}

fn subject(id: u128, key: &str, title: &str, service: &str, minute: i64) -> Subject {
    Subject {
        id: Some(Uuid::from_u128(id)),
        tenant: Some("default".into()),
        environment: "production".into(),
        service: service.into(),
        title: title.into(),
        titles: vec![title.into()],
        alerts: vec![key.into()],
        before: Some(at(minute)),
    }
}

async fn history(bench: &Bench) {
    let alert = |key: &str, team: &str| {
        signal(
            key,
            key,
            SignalKind::Alert,
            json!({"team": team, "severity": "critical"}),
            json!({}),
        )
    };
    let template = signal(
        "logs:api:t1",
        "Log spike in api: Java heap space",
        SignalKind::LogPattern,
        json!({"template": "t1", "level": "error"}),
        json!({"template": "java.lang.OutOfMemoryError: Java heap space"}),
    );
    let resolved = Signal {
        transition: Some(Transition {
            kind: TransitionKind::Resolved,
            episode: EpisodeId::of("x", 1),
            repeats: 0,
        }),
        ..alert("resolved-only", "x")
    };
    let change = signal("deploy", "deploy of api", SignalKind::Change, json!({}), json!({}));
    bench
        .append(
            topics::TRANSITIONS,
            batch(&[alert("mem-1", "shop"), alert("mem-2", "shop"), alert("disk", "infra")]),
        )
        .await;
    bench
        .append(topics::TRANSITIONS, batch(&[template, resolved, change]))
        .await;
    bench
        .tell(&opened(1, "mem-1", "memory usage high on api", "api", 0))
        .await;
    let log = member("logs:api:t1", "Log spike in api: Java heap space", "api", 1);
    bench
        .tell(&event(
            1,
            2,
            "memory usage high on api",
            "api",
            0,
            Fact::SignalJoined { member: log },
        ))
        .await;
    bench.tell(&opened(2, "disk", "disk full on db", "db", 10)).await;
    bench
        .tell(&opened(3, "mem-2", "memory usage high on web", "web", 20))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_incidents_with_what_they_share() {
    let bench = Bench::new().await;
    history(&bench).await;
    // What cannot be read harms nothing else.
    bench.append(topics::INCIDENTS, "rubbish").await;
    bench.append(topics::TRANSITIONS, "rubbish").await;
    bench
        .tell(&opened(4, "mem-1", "memory usage high on api", "api", 30))
        .await;
    bench.catch_up().await;
    assert_eq!(bench.count("incident").await, 4);
    assert_eq!(bench.count("alert").await, 3, "what ended, and changes, are no alerts");
    assert_eq!(bench.count("template").await, 1);
    let found = bench
        .near(&subject(4, "mem-1", "memory usage high on api", "api", 30))
        .await;
    assert_eq!(
        found,
        [
            (
                1,
                [
                    "service:api",
                    "alert:mem-1",
                    "label:team=shop",
                    "words:api high memory usage",
                    "environment:production"
                ]
                .map(str::to_owned)
                .to_vec()
            ),
            (
                3,
                ["label:team=shop", "words:high memory usage", "environment:production"]
                    .map(str::to_owned)
                    .to_vec()
            ),
        ]
    );
    // Only what began before; and another tenant's is nobody's business.
    let first = subject(1, "mem-1", "memory usage high on api", "api", 0);
    assert_eq!(bench.near(&first).await, []);
    let mut stranger = subject(9, "mem-1", "memory usage high on api", "api", 99);
    stranger.tenant = Some("other".into());
    assert_eq!(bench.near(&stranger).await, []);
    // A template that was seen in both counts as an alert does.
    let heap = subject(9, "logs:api:t1", "java heap space memory usage high", "jobs", 99);
    let found = bench.near(&heap).await;
    assert!(
        found[0]
            .1
            .contains(&"template:java.lang.OutOfMemoryError: Java heap space".to_owned()),
        "{found:?}"
    );
    // A text has no features but its words; who searches is shown the nearest, however far.
    let text = Subject {
        title: "disk full".into(),
        ..Subject::default()
    };
    let found = bench.near(&text).await;
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0], (2, vec!["words:disk full".to_owned()]));
    assert!(found[1..].iter().all(|(_, shared)| shared.is_empty()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_the_fold_of_its_facts() {
    let bench = Bench::new().await;
    history(&bench).await;
    bench.catch_up().await;
    // Merged away: never found again. Absorbed: its alerts are the other's.
    let into = IncidentId(Uuid::from_u128(2));
    bench
        .tell(&event(
            1,
            3,
            "memory usage high on api",
            "api",
            0,
            Fact::Merged { into },
        ))
        .await;
    let members = vec![member("mem-1", "memory usage high on api", "api", 0)];
    let other = IncidentId(Uuid::from_u128(1));
    bench
        .tell(&event(
            2,
            2,
            "disk full on db",
            "db",
            0,
            Fact::Absorbed { other, members },
        ))
        .await;
    bench.catch_up().await;
    let found = bench
        .near(&subject(9, "mem-1", "memory usage high on api", "api", 99))
        .await;
    let ids: Vec<u128> = found.iter().map(|(id, _)| *id).collect();
    assert!(!ids.contains(&1) && ids.contains(&2), "{found:?}");
    assert!(
        found
            .iter()
            .any(|(id, matched)| *id == 2 && matched.contains(&"alert:mem-1".to_owned())),
        "{found:?}"
    );
    assert_eq!(bench.count("incident").await, 3);
}

/// All points of the collection that are no positions, without their vectors.
async fn points(bench: &Bench) -> Vec<String> {
    bench.store.set(Fault::None);
    let mut all = Vec::new();
    for kind in ["incident", "alert", "template"] {
        let filter = Filter::default().equal("kind", kind);
        let hits = vectors::VectorStore::query(
            bench.store.as_ref(),
            bench.engine.collection(),
            &[1.0; 384],
            &filter,
            10_000,
        );
        for hit in hits.await.unwrap() {
            let mut fields: Vec<String> = hit
                .payload
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            fields.sort();
            all.push(format!("{} {fields:?}", hit.id));
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_deleted_is_filled_anew_and_equals_the_old_one() {
    let bench = Bench::new().await;
    history(&bench).await;
    bench.catch_up().await;
    let before = points(&bench).await;
    assert_eq!(before.len(), 7);
    let calls = bench.store.calls.load(Ordering::SeqCst);
    bench.catch_up().await;
    assert_eq!(points(&bench).await, before, "reading on changes nothing");
    println!(
        "calls of a run that had nothing to do: {}",
        bench.store.calls.load(Ordering::SeqCst) - calls
    );
    std::fs::remove_dir_all(bench.folder.path().join("vectors")).unwrap();
    bench.catch_up().await;
    assert_eq!(points(&bench).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_lost_once_and_everything_is_there_once() {
    let bench = Bench::new().await;
    history(&bench).await;
    bench.catch_up().await;
    let straight = points(&bench).await;

    let bench = Bench::new().await;
    history(&bench).await;
    bench.store.set(Fault::DoneAndDenied);
    let stop = CancellationToken::new();
    let running = [Reads::Incidents, Reads::Alerts].map(|reads| bench.start(reads, Mode::Live, &stop));
    until(|| bench.backlog.troubles().len() == 2).await;
    bench.store.set(Fault::None);
    until(|| caught_up(&bench, &[4, 2])).await;
    stop.cancel();
    for one in running {
        one.await.unwrap();
    }
    assert_eq!(points(&bench).await, straight);
}

/// Whether both topics are read to these offsets and nothing holds them up.
fn caught_up(bench: &Bench, ends: &[u64; 2]) -> bool {
    let positions = bench.backlog.positions();
    let at = |topic: &str| positions.get(&TopicPartition::new(topic, 0)).map_or(0, |next| next.0);
    at(topics::INCIDENTS) == ends[0] && at(topics::TRANSITIONS) == ends[1] && bench.backlog.troubles().is_empty()
}

async fn until(mut reached: impl FnMut() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it comes to that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_a_model_that_are_gone_cost_time_and_nothing_else() {
    let bench = Bench::new().await;
    bench.store.set(Fault::Gone);
    bench.model_is_there.store(false, Ordering::SeqCst);
    let stop = CancellationToken::new();
    let running = [Reads::Incidents, Reads::Alerts].map(|reads| bench.start(reads, Mode::Live, &stop));
    history(&bench).await;
    until(|| bench.backlog.troubles().values().any(|why| why.contains("gone"))).await;
    assert!(!caught_up(&bench, &[4, 2]));
    // The store is back, the model is not.
    bench.store.set(Fault::None);
    until(|| bench.backlog.troubles().values().any(|why| why.contains("it is away"))).await;
    let asked = bench.engine.near(&subject(9, "k", "memory", "api", 99), 5).await;
    assert!(asked.is_err(), "{asked:?}");
    bench.model_is_there.store(true, Ordering::SeqCst);
    until(|| caught_up(&bench, &[4, 2])).await;
    // Hanging: what asks is held, and the sink goes on when it wakes.
    bench.store.set(Fault::Hangs);
    let calls = bench.store.calls.load(Ordering::SeqCst);
    bench
        .tell(&opened(5, "mem-9", "memory usage high on cache", "cache", 40))
        .await;
    until(|| bench.store.calls.load(Ordering::SeqCst) > calls).await;
    bench.store.set(Fault::None);
    until(|| caught_up(&bench, &[5, 2])).await;
    // Deleted under it: filled from the beginning.
    std::fs::remove_dir_all(bench.folder.path().join("vectors")).unwrap();
    bench
        .tell(&opened(6, "mem-9", "memory usage high on cache", "cache", 50))
        .await;
    until(|| caught_up(&bench, &[6, 2])).await;
    assert_eq!(bench.count("incident").await, 5);
    stop.cancel();
    for one in running {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_of_another_log_is_left_alone() {
    let bench = Bench::new().await;
    history(&bench).await;
    bench.catch_up().await;
    let before = points(&bench).await;
    let stranger = Bench::new().await;
    let engine = Arc::new(Engine::new(
        words(&stranger.model_is_there),
        bench.store.clone(),
        "test",
    ));
    let stranger = Bench { engine, ..stranger };
    stranger.tell(&opened(7, "k", "another log", "x", 0)).await;
    let stop = CancellationToken::new();
    let running = stranger.start(Reads::Incidents, Mode::Live, &stop);
    until(|| {
        stranger
            .backlog
            .troubles()
            .values()
            .any(|why| why.contains("vectors.prefix"))
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    assert_eq!(points(&bench).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_has_a_collection_of_its_own_filled_by_replay() {
    let bench = Bench::new().await;
    history(&bench).await;
    bench.catch_up().await;
    let model = Arc::new(ModelsSettings::default().open(Path::new("/nowhere"), BUILTIN).unwrap());
    let engine = Arc::new(Engine::new(model, bench.store.clone(), "test"));
    assert_ne!(engine.collection(), bench.engine.collection());
    let other = Bench {
        engine,
        ..Bench::new().await
    };
    let other = Bench {
        log: bench.log.clone(),
        ..other
    };
    other.catch_up().await;
    let filter = Filter::default().equal("kind", "incident");
    let count = vectors::VectorStore::count(bench.store.as_ref(), other.engine.collection(), &filter).await;
    assert_eq!(count, Ok(3));
    assert_eq!(bench.count("incident").await, 3);
    // With a model that knows English: other words, the same thing.
    let began = std::time::Instant::now();
    let words = Subject {
        title: "the service api is running out of RAM".into(),
        ..Subject::default()
    };
    let found = other.engine.near(&words, 5).await.unwrap();
    println!(
        "asked in {:?}: {:?}",
        began.elapsed(),
        found.iter().map(|n| (&n.title, n.cosine, n.score)).collect::<Vec<_>>()
    );
    assert_eq!(found[0].title, "memory usage high on api");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_embeds_an_incident_a_few_times() {
    let bench = Bench::new().await;
    bench.tell(&opened(1, "k-0", "title 0", "api", 0)).await;
    for n in 1..500u64 {
        let joined = member(&format!("k-{n}"), &format!("title {n}"), "api", 0);
        bench
            .tell(&event(
                1,
                n + 1,
                "title 0",
                "api",
                0,
                Fact::SignalJoined { member: joined },
            ))
            .await;
    }
    bench.catch_up().await;
    let all = points(&bench).await;
    assert_eq!(all.len(), 1);
    assert!(
        all[0].contains("\\\"title 7\\\"") && !all[0].contains("\\\"title 8\\\""),
        "{all:?}"
    );
    assert!(all[0].len() < 4_000, "bounded: {}", all[0].len());
}
