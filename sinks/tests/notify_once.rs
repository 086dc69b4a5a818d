//! Slack hears each thing once, also where an answer was lost or nobody remembers it: what stands there is looked for. On the stand-in,
//! which keeps messages with their metadata.

use std::sync::Arc;

use model::{IncidentId, Notification, Severity, Status, ids, topics};
use sinks::Store;
use sinks::notify::{Loud, Notify, NotifySettings, Quiet, ReceiverKind, ReceiverSettings, RouteSettings};
use sinks::worker::Worker;
use stream::human::HumanDuration;
use stream::log::memory::MemoryLog;
use stream::time::WallClock;
use stream::{Clock, Log, LogId, Offset, Record, Sink, SinkBatch, TopicPartition};
use world::slack::Message;
use world::{Fault, FaultKind, Running, Scenario, System, World};

fn loud() -> Arc<dyn Quiet> {
    Arc::new(Loud)
}

/// A worker of one receiver beside a Slack.
struct Site {
    world: World,
    _running: Running,
    store: Store,
    settings: NotifySettings,
    next: u64,
    _folder: tempfile::TempDir,
}

impl Site {
    async fn new(attempts: u32) -> Self {
        let world = World::new(Scenario::fast());
        let running = world.start("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("aegis.db").display());
        let store = Store::open(&url).await.unwrap();
        store.migrate().await.unwrap();
        let receiver = ReceiverSettings {
            kind: ReceiverKind::Slack,
            channel: "C1".into(),
            token: "xoxb-1".into(),
            url: format!("{}/api", running.url()),
            attempts,
            timeout: HumanDuration::from_millis(700),
            ..ReceiverSettings::default()
        };
        let route = RouteSettings {
            receivers: vec!["ops".into()],
            ..RouteSettings::default()
        };
        Site {
            world,
            _running: running,
            store,
            settings: NotifySettings {
                receivers: [("ops".to_owned(), receiver)].into(),
                routes: vec![route],
                ..NotifySettings::default()
            },
            next: 0,
            _folder: folder,
        }
    }

    /// Tells one fact, as a process that has just been started; whether it was taken.
    async fn tell(&mut self, fact: &Notification) -> bool {
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let notify = Notify::all(&self.settings, &self.store, &clock, &loud())
            .unwrap()
            .pop()
            .unwrap();
        let mut worker = Worker::new(notify, self.store.clone(), log);
        let record = Record {
            offset: Offset(self.next),
            key: None,
            value: serde_json::to_vec(fact).unwrap().into(),
            headers: Vec::new(),
            timestamp: clock.now(),
        };
        let batch = SinkBatch {
            partition: TopicPartition::new(topics::NOTIFICATIONS, 0),
            start: Offset(self.next),
            next: Offset(self.next + 1),
            records: vec![record],
        };
        let rejects = worker
            .write(&LogId("log".into()), std::slice::from_ref(&batch))
            .await
            .unwrap();
        if !rejects.is_empty() {
            let rest = SinkBatch {
                records: Vec::new(),
                ..batch
            };
            assert!(worker.write(&LogId("log".into()), &[rest]).await.unwrap().is_empty());
        }
        self.next += 1;
        rejects.is_empty()
    }

    /// What happens on the stand-in and is never answered: `times` posts.
    fn lose_answers(&self, times: u32) {
        let fault = Fault::new(System::Slack, FaultKind::Lost).method("POST").times(times);
        self.world.fail(fault);
    }

    /// What stands there: messages, and lines below them.
    fn stands(&self) -> (Vec<Message>, Vec<Message>) {
        let messages = self.world.state().slack.messages.clone();
        messages.into_iter().partition(|one| one.content["thread_ts"].is_null())
    }

    fn check(&self, messages: usize, lines: usize) {
        let stands = self.stands();
        assert_eq!((stands.0.len(), stands.1.len()), (messages, lines), "{stands:#?}");
    }
}

fn fact(revision: u64, event: &str) -> Notification {
    Notification {
        schema: Notification::SCHEMA,
        id: ids::derived(&format!("{revision}/{event}")),
        incident_id: IncidentId(ids::derived("incident")),
        revision,
        event: event.to_owned(),
        severity: Severity::Critical,
        status: Status::Open,
        title: "api-server is down".into(),
        service: Some("api-server".into()),
        tenant: "default".into(),
        environment: "prod".into(),
        at: chrono::Utc::now(),
        remediation: None,
        plan_hash: None,
        detail: None,
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_posts_nothing_twice() {
    let mut site = Site::new(3).await;
    site.lose_answers(1);
    assert!(site.tell(&fact(1, "opened")).await);
    site.check(1, 0);
    // The line below it, after the message was changed.
    let fault = Fault {
        path: Some("chat.postMessage".into()),
        ..Fault::new(System::Slack, FaultKind::Lost).method("POST").times(1)
    };
    site.world.fail(fault);
    assert!(site.tell(&fact(2, "escalated")).await);
    site.check(1, 1);
    assert!(site.stands().0[0].updates >= 2, "adopted, and changed in place");
}

/// As one that died between the call and the writing down of its outcome: the next life knows only that it was begun.
#[tokio::test]
async fn what_an_earlier_life_began_is_adopted() {
    let mut site = Site::new(1).await;
    site.lose_answers(1);
    assert!(!site.tell(&fact(1, "opened")).await, "not known to be taken");
    site.check(1, 0);
    // Many more messages, in pages of one.
    site.world.state().slack.page = 1;
    for number in 0..3 {
        let mut other = site.stands().0[0].clone();
        other.ts = format!("{}.{number:06}", chrono::Utc::now().timestamp() + 1);
        other.content = serde_json::json!({"text": "something else"});
        site.world.state().slack.messages.push(other);
    }
    assert!(site.tell(&fact(1, "opened")).await, "as a replay of the dead letter");
    site.check(1 + 3, 0);
    assert!(site.tell(&fact(2, "escalated")).await);
    site.check(1 + 3, 1);
    let first = &site.stands().0[0];
    assert_eq!(first.updates, 2, "{first:?}");
}

/// The first fact was never told to the end; the second one finds its message, and stands below it.
#[tokio::test]
async fn the_next_fact_finds_what_the_first_one_left() {
    let mut site = Site::new(1).await;
    site.lose_answers(1);
    assert!(!site.tell(&fact(1, "opened")).await);
    assert!(site.tell(&fact(2, "escalated")).await);
    site.check(1, 1);
}

/// Somebody else's message, and one of another receiver, are not taken for ours.
#[tokio::test]
async fn nothing_else_is_adopted() {
    let mut site = Site::new(1).await;
    site.lose_answers(1);
    assert!(!site.tell(&fact(1, "opened")).await);
    for message in &mut site.world.state().slack.messages {
        message.content["metadata"]["event_payload"]["receiver"] = "other".into();
    }
    assert!(site.tell(&fact(1, "opened")).await);
    site.check(2, 0);
}

/// Without the scope nobody can know: rather twice than never.
#[tokio::test]
async fn a_channel_that_cannot_be_read_gets_the_message_again() {
    for answer in [r#"{"ok":false,"error":"missing_scope"}"#, "rubbish"] {
        let mut site = Site::new(1).await;
        site.lose_answers(1);
        assert!(!site.tell(&fact(1, "opened")).await);
        let unreadable = Fault::new(System::Slack, FaultKind::Error)
            .method("GET")
            .answer(200, answer);
        site.world.fail(unreadable);
        assert!(site.tell(&fact(1, "opened")).await);
        site.check(2, 0);
    }
}

/// A post that was certainly not taken is not looked for: no question to Slack in vain.
#[tokio::test]
async fn what_was_turned_away_is_only_sent_again() {
    let mut site = Site::new(2).await;
    let limited = Fault::new(System::Slack, FaultKind::Error).answer(200, r#"{"ok":false,"error":"ratelimited"}"#);
    site.world.fail(limited.times(1));
    assert!(site.tell(&fact(1, "opened")).await);
    site.check(1, 0);
    assert_eq!(site.world.count(System::Slack, "GET"), 0);
}

/// A storm's summary as well: by the first notification that it speaks of, and how many.
#[tokio::test]
async fn a_summary_that_stands_is_not_told_again() {
    let site = Site::new(1).await;
    let storm: Vec<Notification> = (1..=4)
        .map(|number| Notification {
            incident_id: IncidentId(ids::derived(&format!("incident {number}"))),
            ..fact(number, "opened")
        })
        .collect();
    for one in &storm[1..] {
        let now = chrono::Utc::now();
        site.store
            .save_delivery("ops", one, "held", "a line", now)
            .await
            .unwrap();
    }
    // The life before posted it and died.
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    site.lose_answers(1);
    let first = Notify::all(&site.settings, &site.store, &clock, &loud()).unwrap();
    until("the summary", || site.stands().0.len() == 1).await;
    drop(first);
    // One more comes, then the next life.
    let late = Notification {
        incident_id: IncidentId(ids::derived("incident late")),
        ..fact(9, "opened")
    };
    let now = chrono::Utc::now();
    site.store
        .save_delivery("ops", &late, "held", "the late line", now)
        .await
        .unwrap();
    let second = Notify::all(&site.settings, &site.store, &clock, &loud()).unwrap();
    until("the rest", || site.stands().0.len() == 2).await;
    let texts: Vec<String> = site
        .stands()
        .0
        .iter()
        .map(|one| one.content["text"].to_string())
        .collect();
    assert!(texts[0].contains("3 more messages"), "{texts:?}");
    assert!(
        texts[1].contains("1 more messages") && texts[1].contains("the late line"),
        "{texts:?}"
    );
    let store = site.store.clone();
    let held = async || store.held("ops").await.unwrap().len();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while held().await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "still held");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(second);
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "waited for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
