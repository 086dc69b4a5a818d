use std::sync::Arc;

use gateway::Silences as _;
use serde_json::json;
use stream::Instant;
use stream::log::memory::MemoryLog;
use stream::time::ManualClock;

use super::*;

/// 2026-11-24T00:00:00Z.
const NOW: Instant = Instant(1_795_478_400_000_000);
const MINUTE: i64 = 60_000_000;

struct Site {
    log: Arc<dyn Log>,
    store: Store,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

fn signer(word: &str) -> Signer {
    Signer::new([word.repeat(32).as_bytes()]).unwrap()
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("aegis.db").display());
        let store = Store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        ensure_topic(&log).await.unwrap();
        Site {
            log,
            store,
            clock: Arc::new(ManualClock::at(NOW)),
            _folder: folder,
        }
    }

    /// A process that keeps silences, until the end of the test.
    fn desk(&self, key: &str) -> Arc<SilenceDesk> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let desk = Arc::new(SilenceDesk::new(
            self.log.clone(),
            self.store.clone(),
            clock,
            signer(key),
        ));
        let keeping = desk.clone();
        tokio::spawn(async move { keeping.keep(CancellationToken::new()).await });
        desk
    }
}

const SUBJECT: Subject<'static> = Subject {
    incident: IncidentId(Uuid::from_u128(7)),
    service: Some("api"),
    environment: "prod",
    severity: Severity::Critical,
    title: "Memory high on api",
};

fn body(text: serde_json::Value) -> SilenceBody {
    serde_json::from_value(text).unwrap()
}

#[tokio::test]
async fn what_one_declares_all_hear_and_it_ends_in_time_or_when_somebody_says_so() {
    let site = Site::new().await;
    let (one, two) = (site.desk("k"), site.desk("k"));
    assert_eq!(one.over(SUBJECT).await, None);
    let wanted = body(json!({"services": ["api"], "duration": "2h", "comment": "a move"}));
    let made = one.declare(wanted, "human:ann").await.unwrap();
    assert_eq!((made.state.as_str(), made.by.as_str()), ("active", "human:ann"));
    assert_eq!(made.ends_at - made.starts_at, TimeDelta::hours(2));
    // Whoever declared it has it at once, the others soon.
    assert_eq!(one.over(SUBJECT).await, Some(made.id));
    while two.over(SUBJECT).await.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let later = body(
        json!({"title": "MEMORY", "starts_at": "2026-11-24T01:00:00Z", "ends_at": "2026-11-24T05:00:00Z", "comment": "x"}),
    );
    let later = two.declare(later, "human:bob").await.unwrap();
    assert_eq!(later.state, "pending");
    let ended = two.end(made.id, "human:bob").await.unwrap();
    assert_eq!(
        (ended.state.as_str(), ended.ended_by.as_deref()),
        ("ended", Some("human:bob"))
    );
    assert!(matches!(
        two.end(made.id, "human:bob").await,
        Err(OrderError::Conflict(_))
    ));
    assert!(matches!(
        two.end(Uuid::from_u128(1), "human:bob").await,
        Err(OrderError::NotFound(_))
    ));
    assert_eq!(two.over(SUBJECT).await, None);
    // A third one begins with all of it.
    let three = site.desk("k");
    assert_eq!(three.over(SUBJECT).await, None);
    site.clock.set(Instant(NOW.0 + 61 * MINUTE));
    assert_eq!(three.over(SUBJECT).await, Some(later.id));
    assert!(three.holds(later.id).await && !three.holds(made.id).await);
    let list = async |all| {
        three
            .list(SilenceFilter { all, incident: None })
            .await
            .unwrap()
            .unwrap()
            .len()
    };
    assert_eq!((list(false).await, list(true).await), (1, 2));
    site.clock.set(Instant(NOW.0 + 300 * MINUTE));
    assert!(!three.holds(later.id).await);
    assert_eq!(list(false).await, 0);
    let nobody = SilenceFilter {
        all: false,
        incident: Some(SUBJECT.incident),
    };
    assert_eq!(three.list(nobody).await.unwrap(), None, "there is no such incident");
}

#[tokio::test]
async fn who_has_not_the_key_silences_nobody() {
    let site = Site::new().await;
    let (own, stranger) = (site.desk("k"), site.desk("x"));
    let wanted = body(json!({"severities": ["critical"], "duration": "2h", "comment": "hush"}));
    stranger.declare(wanted.clone(), "human:eve").await.unwrap();
    let junk = |value: &[u8]| NewRecord {
        value: value.to_vec().into(),
        ..NewRecord::default()
    };
    site.log.append(&place(), vec![junk(b"{"), junk(b"")]).await.unwrap();
    // Behind all of that it still reads.
    let made = own.declare(wanted, "human:ann").await.unwrap();
    assert_eq!(own.over(SUBJECT).await, Some(made.id));
    assert_eq!(
        own.list(SilenceFilter {
            all: true,
            incident: None
        })
        .await
        .unwrap()
        .unwrap()
        .len(),
        1
    );
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_by_its_field() {
    let site = Site::new().await;
    let desk = site.desk("k");
    for (wanted, field) in [
        (json!({"duration": "2h", "comment": "x"}), "services"),
        (json!({"services": [" "], "duration": "2h", "comment": "x"}), "services"),
        (
            json!({"environments": ["e".repeat(201)], "duration": "2h", "comment": "x"}),
            "environments",
        ),
        (json!({"title": "", "duration": "2h", "comment": "x"}), "title"),
        (
            json!({"services": vec!["s"; 101], "duration": "2h", "comment": "x"}),
            "services",
        ),
        (json!({"services": ["s"], "comment": "x"}), "duration"),
        (
            json!({"services": ["s"], "duration": "soon", "comment": "x"}),
            "duration",
        ),
        (json!({"services": ["s"], "duration": "0s", "comment": "x"}), "duration"),
        (
            json!({"services": ["s"], "duration": "91d", "comment": "x"}),
            "duration",
        ),
        (
            json!({"services": ["s"], "ends_at": "2026-11-23T00:00:00Z", "comment": "x"}),
            "ends_at",
        ),
        (
            json!({"services": ["s"], "ends_at": "2026-11-25T00:00:00Z", "duration": "1h", "comment": "x"}),
            "duration",
        ),
    ] {
        match desk.declare(body(wanted.clone()), "human:ann").await {
            Err(OrderError::Invalid { field: found, .. }) => assert_eq!(found, field, "{wanted}"),
            other => panic!("{wanted}: {other:?}"),
        }
    }
    assert!(desk.list(SilenceFilter::default()).await.unwrap().unwrap().is_empty());
}
