//! The notify workers against servers that keep state and can fail, be slow to recover, or say "too many".

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use model::{IncidentId, Notification, Severity, Status, ids, topics};
use serde_json::{Value, json};
use sinks::Store;
use sinks::notify::{Loud, Notify, NotifySettings, Quiet, ReceiverKind, ReceiverSettings, RouteSettings, signature};
use sinks::worker::Worker;
use stream::human::HumanDuration;
use stream::log::memory::MemoryLog;
use stream::time::ManualClock;
use stream::{Clock, Instant, Log, LogId, Offset, Record, Sink, SinkBatch, SinkReject, TopicPartition};
use uuid::Uuid;

/// 2026-11-24T00:00:00Z.
const NOW: Instant = Instant(1_795_478_400_000_000);

/// What the stand-in was asked, and what it says next instead of yes.
#[derive(Default)]
struct Asked {
    calls: Vec<(String, Value, HeaderMap)>,
    says: VecDeque<(StatusCode, Option<&'static str>, Value)>,
    /// Slack's messages by `ts`.
    messages: std::collections::BTreeMap<String, Value>,
}

/// Slack, PagerDuty and a webhook in one.
#[derive(Clone)]
struct StandIn {
    asked: Arc<Mutex<Asked>>,
    url: String,
}

impl StandIn {
    async fn start() -> Self {
        let asked = Arc::new(Mutex::new(Asked::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = Router::new().route("/{*path}", post(answer)).with_state(asked.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        StandIn {
            asked,
            url: format!("http://{address}"),
        }
    }

    fn say(&self, status: u16, after: Option<&'static str>, body: Value) {
        let status = StatusCode::from_u16(status).unwrap();
        self.asked.lock().unwrap().says.push_back((status, after, body));
    }

    /// Paths of the calls so far.
    fn paths(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .calls
            .iter()
            .map(|(path, ..)| path.clone())
            .collect()
    }

    fn body(&self, at: usize) -> Value {
        self.asked.lock().unwrap().calls[at].1.clone()
    }

    fn header(&self, at: usize, name: &str) -> String {
        self.asked.lock().unwrap().calls[at].2[name]
            .to_str()
            .unwrap()
            .to_owned()
    }
}

async fn answer(
    State(asked): State<Arc<Mutex<Asked>>>,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut asked = asked.lock().unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    asked.calls.push((path.clone(), body.clone(), headers));
    if let Some((status, after, body)) = asked.says.pop_front() {
        let mut response = (status, body.to_string()).into_response();
        if let Some(after) = after {
            response.headers_mut().insert("retry-after", after.parse().unwrap());
        }
        return response;
    }
    let answer = match path.as_str() {
        "chat.postMessage" => {
            let ts = format!("1.{:06}", asked.messages.len());
            asked.messages.insert(ts.clone(), body);
            json!({"ok": true, "channel": "C1", "ts": ts})
        }
        "chat.update" => {
            let ts = body["ts"].as_str().unwrap().to_owned();
            if asked.messages.contains_key(&ts) {
                asked.messages.insert(ts.clone(), body);
                json!({"ok": true, "channel": "C1", "ts": ts})
            } else {
                json!({"ok": false, "error": "message_not_found"})
            }
        }
        _ => json!({"status": "success"}),
    };
    answer.to_string().into_response()
}

fn receiver(kind: ReceiverKind, url: &str) -> ReceiverSettings {
    ReceiverSettings {
        kind,
        channel: "#ops".into(),
        token: "xoxb-1".into(),
        routing_key: "r".repeat(32).into(),
        url: url.to_owned(),
        secret: "s3cret".into(),
        attempts: 2,
        timeout: HumanDuration::from_secs(5),
        ..ReceiverSettings::default()
    }
}

fn settings(receivers: &[(&str, ReceiverSettings)]) -> NotifySettings {
    NotifySettings {
        receivers: receivers
            .iter()
            .map(|(name, one)| ((*name).to_owned(), one.clone()))
            .collect(),
        routes: vec![RouteSettings {
            receivers: receivers.iter().map(|(name, _)| (*name).to_owned()).collect(),
            ..RouteSettings::default()
        }],
        ..NotifySettings::default()
    }
}

fn fact(incident: &str, revision: u64, event: &str) -> Notification {
    Notification {
        schema: Notification::SCHEMA,
        id: ids::derived(&format!("{incident}/{revision}/{event}")),
        incident_id: IncidentId(ids::derived(incident)),
        revision,
        event: event.to_owned(),
        severity: Severity::Critical,
        status: if event == "resolved" {
            Status::Resolved
        } else {
            Status::Open
        },
        title: format!("{incident} is down"),
        service: Some("checkout".into()),
        tenant: "default".into(),
        environment: "prod".into(),
        at: NOW.to_datetime(),
        remediation: None,
        plan_hash: None,
        detail: None,
    }
}

fn waiting(incident: &str, status: &str) -> Notification {
    Notification {
        remediation: Some(ids::derived("remediation")),
        plan_hash: Some("abc".into()),
        detail: Some("restart deployment/checkout: it crashes".into()),
        ..fact(incident, 2, &format!("remediation_{status}"))
    }
}

/// The workers of one run over one store.
struct Run {
    workers: Vec<Worker<Notify>>,
    clock: Arc<ManualClock>,
    store: Store,
    next: u64,
}

impl Run {
    async fn new(settings: &NotifySettings, store: &Store) -> Self {
        Run::among(settings, store, Arc::new(Loud)).await
    }

    /// With silences.
    async fn among(settings: &NotifySettings, store: &Store, quiet: Arc<dyn Quiet>) -> Self {
        store.migrate().await.unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let dynamic: Arc<dyn Clock> = clock.clone();
        let workers = Notify::all(settings, store, &dynamic, &quiet).unwrap();
        let workers = workers
            .into_iter()
            .map(|one| Worker::new(one, store.clone(), log.clone()))
            .collect();
        Run {
            workers,
            clock,
            store: store.clone(),
            next: 0,
        }
    }

    /// Gives the facts to every worker, as a driver would; what they handed back.
    async fn tell(&mut self, facts: &[Notification]) -> Vec<SinkReject> {
        let start = self.next;
        let record = |(at, fact): (usize, &Notification)| Record {
            offset: Offset(start + at as u64),
            value: serde_json::to_vec(fact).unwrap().into(),
            timestamp: NOW,
            ..record()
        };
        let batch = SinkBatch {
            partition: TopicPartition::new(topics::NOTIFICATIONS, 0),
            start: Offset(start),
            next: Offset(start + facts.len() as u64),
            records: facts.iter().enumerate().map(record).collect(),
        };
        self.next += facts.len() as u64;
        let mut all = Vec::new();
        for worker in &mut self.workers {
            let rejects = worker
                .write(&LogId("log".into()), std::slice::from_ref(&batch))
                .await
                .unwrap();
            if !rejects.is_empty() {
                // The driver buries them and gives the rest again.
                let mut rest = batch.clone();
                rest.records
                    .retain(|record| rejects.iter().all(|reject| reject.offset != record.offset));
                assert!(worker.write(&LogId("log".into()), &[rest]).await.unwrap().is_empty());
            }
            all.extend(rejects);
        }
        all
    }
}

fn record() -> Record {
    Record {
        offset: Offset(0),
        key: None,
        value: Default::default(),
        headers: Vec::new(),
        timestamp: NOW,
    }
}

fn store(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}", folder.path().join("aegis.db").display())
}

#[tokio::test]
async fn one_message_per_incident_is_changed_in_place_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let slack = StandIn::start().await;
    let settings = settings(&[("ops", receiver(ReceiverKind::Slack, &slack.url))]);
    let mut run = Run::new(&settings, &store).await;
    run.tell(&[fact("a", 1, "opened")]).await;
    // A crash between what was sent and the position: everything comes again.
    let mut again = Run::new(&settings, &store).await;
    again.next = 1;
    run.workers.clear();
    again.tell(&[fact("a", 1, "opened"), waiting("a", "waiting")]).await;
    assert_eq!(slack.paths(), ["chat.postMessage", "chat.update", "chat.postMessage"]);
    assert_eq!(slack.header(0, "authorization"), "Bearer xoxb-1");
    assert_eq!(
        (slack.body(1)["channel"].clone(), slack.body(1)["ts"].clone()),
        (json!("C1"), json!("1.000000"))
    );
    assert_eq!(slack.body(2)["thread_ts"], "1.000000");
    let buttons = slack.body(1)["blocks"].to_string();
    assert!(
        buttons.contains("aegis_approve") && buttons.contains("aegis_deny"),
        "{buttons}"
    );
    let value = slack.body(1)["blocks"][3]["elements"][0]["value"]
        .as_str()
        .unwrap()
        .to_owned();
    let parts: Vec<&str> = value.split('|').collect();
    assert_eq!(parts[..2], [ids::derived("remediation").to_string().as_str(), "abc"]);
    let nonce: Uuid = parts[2].parse().unwrap();
    // A pair of buttons opens once.
    let now = NOW.to_datetime();
    assert!(again.store.use_button(nonce, "human:ada", now).await.unwrap());
    assert!(!again.store.use_button(nonce, "human:eve", now).await.unwrap());
    // A later fact keeps them; the decision takes them away.
    again
        .tell(&[Notification {
            revision: 3,
            ..fact("a", 3, "escalated")
        }])
        .await;
    assert!(slack.body(3)["blocks"].to_string().contains("aegis_approve"));
    again.tell(&[waiting("a", "granted"), fact("a", 4, "resolved")]).await;
    let last = slack.asked.lock().unwrap().messages["1.000000"].to_string();
    assert!(!last.contains("aegis_approve") && last.contains("[RESOLVED]"), "{last}");
}

#[tokio::test]
async fn a_message_that_somebody_deleted_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let slack = StandIn::start().await;
    let mut run = Run::new(&settings(&[("ops", receiver(ReceiverKind::Slack, &slack.url))]), &store).await;
    run.tell(&[fact("a", 1, "opened")]).await;
    slack.asked.lock().unwrap().messages.clear();
    assert!(run.tell(&[fact("a", 2, "resolved")]).await.is_empty());
    assert_eq!(
        slack.paths()[..3],
        ["chat.postMessage", "chat.update", "chat.postMessage"]
    );
    assert_eq!(slack.body(2)["channel"], "#ops");
}

#[tokio::test]
async fn hostile_text_stays_text() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let slack = StandIn::start().await;
    let mut run = Run::new(&settings(&[("ops", receiver(ReceiverKind::Slack, &slack.url))]), &store).await;
    let hostile = Notification {
        title: format!("<!channel> & <https://evil|click> \u{202e}\0\n{}", "&".repeat(5_000)),
        service: Some("<@U1>".into()),
        detail: Some("<!here>".into()),
        ..fact("a", 1, "opened")
    };
    assert!(
        run.tell(&[
            hostile,
            Notification {
                title: String::new(),
                ..fact("b", 1, "opened")
            }
        ])
        .await
        .is_empty()
    );
    let body = slack.body(0);
    let marked: Vec<&Value> = body["blocks"][1]["fields"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&body["blocks"][2]["elements"][0]])
        .collect();
    for block in marked {
        let text = block["text"].as_str().unwrap();
        assert!(!text.contains('<') && text.chars().count() < 3_000, "{text}");
    }
    assert!(!body["text"].as_str().unwrap().contains('<'));
    assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
    assert!(body["blocks"][0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
    assert!(slack.body(1)["text"].as_str().unwrap().contains("(no title)"));
}

#[tokio::test]
async fn a_receiver_that_is_down_stops_nobody_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let (slack, hook) = (StandIn::start().await, StandIn::start().await);
    let receivers = [
        ("hook", receiver(ReceiverKind::Webhook, &format!("{}/in", hook.url))),
        ("ops", receiver(ReceiverKind::Slack, &slack.url)),
    ];
    let mut run = Run::new(&settings(&receivers), &store).await;
    // 429 with a time, then yes: taken within the attempts.
    slack.say(429, Some("0"), json!({}));
    assert!(run.tell(&[fact("a", 1, "opened")]).await.is_empty());
    assert_eq!((slack.paths().len(), hook.paths().len()), (2, 1));
    // Two times no: the record is handed back to be buried, the webhook has it.
    slack.say(500, None, json!({}));
    slack.say(200, None, json!({"ok": false, "error": "ratelimited"}));
    let rejects = run.tell(&[fact("b", 1, "opened")]).await;
    assert_eq!((rejects.len(), rejects[0].reason), (1, "undelivered"));
    assert!(
        rejects[0].detail.contains("receiver ops: ratelimited"),
        "{}",
        rejects[0].detail
    );
    assert_eq!((slack.paths().len(), hook.paths().len()), (4, 2));
    // Still down: one try only. Refused for good: one try as well.
    slack.say(500, None, json!({}));
    assert_eq!(run.tell(&[fact("c", 1, "opened")]).await.len(), 1);
    slack.say(200, None, json!({"ok": false, "error": "invalid_auth"}));
    assert_eq!(run.tell(&[fact("d", 1, "opened")]).await.len(), 1);
    assert_eq!((slack.paths().len(), hook.paths().len()), (6, 4));
    // What was buried and is sent again arrives.
    assert!(run.tell(&[fact("b", 1, "opened")]).await.is_empty());
    assert_eq!((slack.paths().len(), hook.paths().len()), (7, 4));
    let body = slack_free(&hook, 0);
    assert_eq!(
        hook.header(0, "x-aegis-signature"),
        signature("s3cret", body.as_bytes())
    );
    assert_eq!(hook.body(0)["notification"]["title"], "a is down");
}

/// The body as it was sent: `serde_json` keeps the order of the keys it wrote, sorted.
fn slack_free(stand_in: &StandIn, at: usize) -> String {
    stand_in.body(at).to_string()
}

#[tokio::test]
async fn a_storm_is_summarised() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let slack = StandIn::start().await;
    let ops = ReceiverSettings {
        per_minute: 3,
        ..receiver(ReceiverKind::Slack, &slack.url)
    };
    let settings = settings(&[("ops", ops)]);
    let mut run = Run::new(&settings, &store).await;
    let storm: Vec<Notification> = (0..50).map(|n| fact(&format!("i{n}"), 1, "opened")).collect();
    run.tell(&storm).await;
    assert_eq!(slack.paths().len(), 3);
    // What waits for a person is told at once.
    run.tell(&[waiting("i49", "waiting")]).await;
    assert_eq!(slack.paths().len(), 4);
    // A restart in the middle of it, then the minute is over.
    run.workers.clear();
    let again = Run::new(&settings, &store).await;
    again.clock.set(Instant(NOW.0 + 61_000_000));
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while slack.paths().len() < 5 {
        assert!(tokio::time::Instant::now() < until, "no summary");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = slack.body(4)["text"].as_str().unwrap().to_owned();
    assert!(
        text.contains("47 more messages") && text.contains("… and 32 more") && text.contains("critical"),
        "{text}"
    );
}

#[tokio::test]
async fn pagerduty_hears_trigger_acknowledge_resolve() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let pager = StandIn::start().await;
    let mut run = Run::new(
        &settings(&[("pager", receiver(ReceiverKind::PagerDuty, &pager.url))]),
        &store,
    )
    .await;
    run.tell(&[
        fact("a", 1, "opened"),
        fact("a", 2, "acknowledged"),
        fact("a", 3, "postmortem_added"),
        fact("a", 4, "resolved"),
    ])
    .await;
    assert_eq!(pager.paths(), ["v2/enqueue"; 3]);
    let actions: Vec<Value> = (0..3).map(|at| pager.body(at)["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert_eq!(pager.body(0)["dedup_key"], ids::derived("a").to_string());
    assert_eq!(pager.body(0)["payload"]["severity"], "critical");
}

#[test]
fn routes() {
    let mut settings = settings(&[
        ("all", ReceiverSettings::default()),
        ("prod", ReceiverSettings::default()),
    ]);
    let route = |receiver: &str| RouteSettings {
        receivers: vec![receiver.to_owned()],
        ..RouteSettings::default()
    };
    settings.routes = vec![
        RouteSettings {
            environments: vec!["prod".into()],
            severities: vec!["critical".into()],
            r#continue: true,
            ..route("prod")
        },
        RouteSettings {
            events: vec!["resolved".into()],
            receivers: vec!["prod".into()],
            ..RouteSettings::default()
        },
        route("all"),
    ];
    let opened = fact("a", 1, "opened");
    assert!(settings.tells("prod", &opened) && settings.tells("all", &opened));
    let staging = Notification {
        environment: "staging".into(),
        ..opened.clone()
    };
    assert!(!settings.tells("prod", &staging) && settings.tells("all", &staging));
    assert!(
        !settings.tells("all", &fact("a", 2, "resolved")),
        "the first one that matches counts"
    );
    let canary = Notification {
        environment: model::incident::CANARY.into(),
        ..opened
    };
    assert!(!settings.tells("all", &canary));
    settings.routes[0].receivers.push("nobody".into());
    let faults: Vec<String> = settings
        .faults()
        .into_iter()
        .map(|(key, problem)| format!("{key}: {problem}"))
        .collect();
    assert!(
        faults.iter().any(|f| f.contains("no receiver \"nobody\"")),
        "{faults:?}"
    );
    assert!(faults.iter().any(|f| f.starts_with("receivers.all.url")), "{faults:?}");
}

/// Silences that a test changes: each is the name of an incident that it holds back.
#[derive(Default)]
struct Hush(Mutex<Vec<(Uuid, &'static str)>>);

impl Hush {
    fn hold(&self, number: u128, incident: &'static str) {
        self.0.lock().unwrap().push((Uuid::from_u128(number), incident));
    }

    fn end(&self, number: u128) {
        self.0.lock().unwrap().retain(|(id, _)| *id != Uuid::from_u128(number));
    }
}

#[async_trait::async_trait]
impl Quiet for Hush {
    async fn over(&self, subject: model::silence::Subject<'_>) -> Option<Uuid> {
        let all = self.0.lock().unwrap();
        let one = all
            .iter()
            .find(|(_, incident)| subject.incident == IncidentId(ids::derived(incident)));
        one.map(|(id, _)| *id)
    }

    async fn holds(&self, silence: Uuid) -> bool {
        self.0.lock().unwrap().iter().any(|(id, _)| *id == silence)
    }
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap_or_else(|_| panic!("it does not come to: {what}"));
}

/// Longer than a look at what waits.
async fn a_while() {
    tokio::time::sleep(Duration::from_millis(2_500)).await;
}

#[tokio::test]
async fn a_silence_holds_back_and_when_it_is_over_what_is_open_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let (slack, duty) = (StandIn::start().await, StandIn::start().await);
    let settings = settings(&[
        ("ops", receiver(ReceiverKind::Slack, &slack.url)),
        ("page", receiver(ReceiverKind::PagerDuty, &duty.url)),
    ]);
    let hush = Arc::new(Hush::default());
    hush.hold(1, "stays open");
    hush.hold(1, "ends in between");
    let mut run = Run::among(&settings, &store, hush.clone()).await;
    let facts = [
        fact("stays open", 1, "opened"),
        fact("ends in between", 1, "opened"),
        fact("another", 1, "opened"),
    ];
    assert!(run.tell(&facts).await.is_empty());
    assert!(run.tell(&[fact("stays open", 2, "escalated")]).await.is_empty());
    assert!(run.tell(&[fact("ends in between", 2, "resolved")]).await.is_empty());
    a_while().await;
    // Slack heard of the one that nobody silenced; PagerDuty also that something ended.
    assert_eq!(slack.paths(), ["chat.postMessage"]);
    assert!(slack.body(0).to_string().contains("another is down"));
    assert_eq!(duty.paths().len(), 2);
    assert_eq!(duty.body(1)["event_action"], "resolve");
    // A second process stands beside it, as after a restart, and one more silence holds it for a while.
    let second = Run::among(&settings, &store, hush.clone()).await;
    hush.hold(2, "stays open");
    hush.end(1);
    a_while().await;
    assert_eq!(slack.paths().len(), 1, "the other one holds it");
    hush.end(2);
    until("the words at both", || {
        slack.paths().len() >= 2 && duty.paths().len() >= 3
    })
    .await;
    a_while().await;
    assert_eq!((slack.paths().len(), duty.paths().len()), (2, 3), "each once");
    let card = slack.body(1).to_string();
    assert!(card.contains("stays open is down"), "{card}");
    assert_eq!(duty.body(2)["event_action"], "trigger");
    // What is read again after a crash is known.
    run.workers.clear();
    let mut again = second;
    again.next = run.next;
    assert!(again.tell(&[fact("stays open", 2, "escalated")]).await.is_empty());
    assert_eq!((slack.paths().len(), duty.paths().len()), (2, 3));
}

#[tokio::test]
async fn the_end_of_what_has_a_message_is_told_in_a_silence() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let (slack, web) = (StandIn::start().await, StandIn::start().await);
    let settings = settings(&[
        ("ops", receiver(ReceiverKind::Slack, &slack.url)),
        ("hook", receiver(ReceiverKind::Webhook, &format!("{}/hook", web.url))),
    ]);
    let hush = Arc::new(Hush::default());
    let mut run = Run::among(&settings, &store, hush.clone()).await;
    run.tell(&[fact("a", 1, "opened")]).await;
    hush.hold(1, "a");
    run.tell(&[fact("a", 2, "escalated"), waiting("a", "waiting")]).await;
    assert_eq!(
        (slack.paths().len(), web.paths().len()),
        (1, 1),
        "a silence holds back questions as well"
    );
    run.tell(&[fact("a", 4, "resolved")]).await;
    let last = slack.asked.lock().unwrap().messages["1.000000"].to_string();
    assert!(last.contains("[RESOLVED]"), "{last}");
    assert_eq!(web.paths().len(), 2);
    hush.end(1);
    let before = slack.paths().len();
    a_while().await;
    assert_eq!(
        (slack.paths().len(), web.paths().len()),
        (before, 2),
        "nothing of it waits any more"
    );
}

#[tokio::test]
async fn what_a_silence_held_back_waits_for_a_receiver_that_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store(&folder)).await.unwrap();
    let web = StandIn::start().await;
    let hook = ReceiverSettings {
        attempts: 1,
        ..receiver(ReceiverKind::Webhook, &format!("{}/hook", web.url))
    };
    let hush = Arc::new(Hush::default());
    hush.hold(1, "a");
    let mut run = Run::among(&settings(&[("hook", hook)]), &store, hush.clone()).await;
    run.tell(&[fact("a", 1, "opened")]).await;
    web.say(500, None, json!({}));
    hush.end(1);
    until("the first try", || web.paths().len() == 1).await;
    a_while().await;
    assert_eq!(web.paths().len(), 1, "whoever has it keeps it for a while");
    run.clock.set(Instant(NOW.0 + 300_000_000));
    until("the second try", || web.paths().len() == 2).await;
    a_while().await;
    assert_eq!(web.paths().len(), 2);
}
