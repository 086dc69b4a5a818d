//! The product whole: a click on Slack up to the record on `remediations`, and the dead-man's switch.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use model::action::{Action, Workload, WorkloadKind};
use model::approval::{Decision, Effect};
use model::proposal::{BlastRadius, Proposal, TargetState};
use model::remediation::{RemediationEvent, RemediationFact};
use model::{IncidentId, ids, topics};
use pipeline::answers::SlackAnswers;
use pipeline::cli::{Role, RunArgs};
use pipeline::config::{Config, load};
use pipeline::orders::LogOrders;
use pipeline::run::{Addresses, run};
use pipeline::world::World;
use sinks::notify::{Http, signature};
use sources::webhook::WebhookSource;
use stream::time::ManualClock;
use stream::{Ingress, Instant, LogId, Offset, Record, Sink as _, SinkBatch, Source as _, TopicPartition};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Far more than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(120);
const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// A server that hands on the bodies it is sent, and its URL.
async fn stand_in() -> (String, mpsc::UnboundedReceiver<String>) {
    let (sender, bodies) = mpsc::unbounded_channel();
    let take = async |State(sender): State<mpsc::UnboundedSender<String>>, body: String| {
        let _ = sender.send(body);
        "ok"
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().route("/", post(take)).with_state(sender);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, bodies)
}

async fn next(bodies: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::time::timeout(PATIENCE, bodies.recv())
        .await
        .expect("a body in time")
        .expect("a server")
}

fn config(folder: &Path, extra: &str) -> Config {
    let file = folder.join("aegis.toml");
    let text = format!(
        "[data]\ndir = \"{}/data\"\n[topics]\npartitions = 2\n[dispatcher]\nlisten = \"127.0.0.1:0\"\n[gateway]\nlisten = \"127.0.0.1:0\"\n[sql]\nlisten = \"127.0.0.1:0\"\n[mcp]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n{extra}",
        folder.display()
    );
    std::fs::write(&file, text).unwrap();
    let (config, _) = load(Some(&file), &std::collections::BTreeMap::new()).unwrap_or_else(|faults| {
        panic!(
            "{}",
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        )
    });
    config
}

fn proposal(now: chrono::DateTime<chrono::Utc>) -> Proposal {
    let action = Action::Restart {
        target: Workload {
            cluster: "default".into(),
            namespace: "production".into(),
            kind: WorkloadKind::Deployment,
            name: "api-server".into(),
        },
    };
    Proposal {
        id: Uuid::from_u128(7),
        incident_id: IncidentId(ids::derived("incident")),
        tenant: "default".into(),
        environment: "prod".into(),
        plan_hash: action.plan_hash(),
        action,
        reason: "memory is exhausted".into(),
        citations: Vec::new(),
        dry_run: "+ restartedAt".into(),
        inverse: None,
        blast_radius: BlastRadius { workloads: 1, pods: 3 },
        target: TargetState {
            uid: "uid-1".into(),
            generation: 4,
            spec_hash: "abc".into(),
            resource_version: "77".into(),
            replicas: 3,
            ready: 3,
            detail: serde_json::Value::Null,
        },
        proposed_by: "agent:fixer".into(),
        proposed_at: now,
        expires_at: now + chrono::Duration::hours(1),
    }
}

/// A click as Slack sends it, signed now.
async fn click(
    dispatcher: std::net::SocketAddr,
    user: &str,
    value: &str,
    response_url: &str,
    salt: u32,
) -> (u16, String) {
    let payload = serde_json::json!({
        "type": "block_actions", "user": {"id": user}, "response_url": response_url, "trigger_id": salt.to_string(),
        "actions": [{"action_id": "aegis_approve", "value": value}],
    });
    let encoded: String = payload.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    let body = format!("payload={encoded}");
    let at = chrono::Utc::now().timestamp();
    let signed = signature(SECRET, format!("v0:{at}:{body}").as_bytes()).replace("sha256=", "v0=");
    raw(
        dispatcher,
        &format!("X-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: {signed}\r\n"),
        &body,
    )
    .await
}

async fn raw(to: std::net::SocketAddr, headers: &str, body: &str) -> (u16, String) {
    get(to, "POST /slack/interactivity", headers, body).await
}

async fn get(to: std::net::SocketAddr, what: &str, headers: &str, body: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let request = format!(
        "{what} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer.split_whitespace().nth(1).unwrap().parse().unwrap(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_on_slack_approves_once() {
    let folder = tempfile::tempdir().unwrap();
    let (url, mut said) = stand_in().await;
    let slack = format!(
        "[dispatcher.slack]\nsigning_secrets = [\"old\", \"{SECRET}\"]\nresponse_urls = \"{url}\"\n\
         users = {{ U1 = {{ name = \"ada\", role = \"approver\" }}, U2 = {{ name = \"eve\", role = \"responder\" }} }}\n"
    );
    let config = config(folder.path(), &slack);
    let world = World::open(&config).await.unwrap();
    let now = world.runtime.clock.now().to_datetime();
    let proposal = proposal(now);
    let facts = [
        RemediationFact::Proposed {
            proposal: Box::new(proposal.clone()),
        },
        RemediationFact::Decided {
            decision: Decision {
                effect: Effect::Ask,
                rule: None,
                why: "no rule".into(),
            },
            policy: String::new(),
        },
    ];
    let record = |(at, fact): (usize, RemediationFact)| Record {
        offset: Offset(at as u64),
        key: None,
        value: Bytes::from(
            serde_json::to_vec(&RemediationEvent::new(proposal.id, proposal.incident_id, now, fact)).unwrap(),
        ),
        headers: Vec::new(),
        timestamp: world.runtime.clock.now(),
    };
    let batch = SinkBatch {
        partition: TopicPartition::new(topics::REMEDIATIONS, 0),
        start: Offset(0),
        next: Offset(2),
        records: facts.into_iter().enumerate().map(record).collect(),
    };
    let mut sql = sinks::SqlSink::new(world.store.clone());
    assert!(sql.write(&LogId("test".into()), &[batch]).await.unwrap().is_empty());
    let nonce = world
        .store
        .button_for("ops", proposal.id, &proposal.plan_hash, Uuid::new_v4(), now)
        .await
        .unwrap();

    let orders = LogOrders {
        log: world.runtime.log.clone(),
        store: world.store.clone(),
        clock: world.runtime.clock.clone(),
        observe: world.observe.clone(),
        signer: world.topology.signer.clone(),
    };
    let dispatcher = WebhookSource::bind(config.dispatcher.clone()).await.unwrap();
    let dispatcher = dispatcher.with_answers(Arc::new(SlackAnswers {
        orders,
        http: Http::new().unwrap(),
        similar: None,
    }));
    let address = dispatcher.local_addr();
    let ingress = Ingress::open(world.runtime.log.clone(), topics::EVENTS_RAW, 1 << 20)
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(Box::new(dispatcher).run(ingress, stop.clone()));

    let value = format!("{}|{}|{nonce}", proposal.id, proposal.plan_hash);
    // Nobody without a signature, and nobody who may not.
    assert_eq!(raw(address, "", "payload=%7B%7D").await.0, 401);
    for (salt, stranger) in ["U2", "U9"].into_iter().enumerate() {
        assert_eq!(click(address, stranger, &value, &url, salt as u32).await.0, 200);
        assert!(next(&mut said).await.contains("You cannot do this."));
    }
    let other = format!("{}|{}|{}", proposal.id, proposal.plan_hash, Uuid::new_v4());
    assert_eq!(click(address, "U1", &other, &url, 2).await.0, 200);
    assert!(next(&mut said).await.contains("Not done: there is no such button"));
    assert_eq!(click(address, "U1", &value, &url, 3).await.0, 200);
    assert!(next(&mut said).await.contains("Approved."));
    assert_eq!(click(address, "U1", &value, &url, 4).await.0, 200);
    assert!(next(&mut said).await.contains("it was answered already"));

    let mut orders = Vec::new();
    for partition in 0..2 {
        let at = TopicPartition::new(topics::REMEDIATIONS, partition);
        let bounds = world.runtime.log.bounds(&at).await.unwrap();
        if bounds.start < bounds.end {
            let mut reader = world.runtime.log.reader(&at, bounds.start).await.unwrap();
            orders.extend(reader.read(10, Duration::from_secs(1)).await.unwrap().0);
        }
    }
    assert_eq!(orders.len(), 1);
    let event: RemediationEvent = serde_json::from_slice(&orders[0].value).unwrap();
    let approve = RemediationFact::Approve {
        by: "human:ada".into(),
        plan_hash: proposal.plan_hash.clone(),
    };
    assert_eq!((event.id, event.fact), (proposal.id, approve));
    stop.cancel();
    serving.await.unwrap().unwrap();
}

/// The example of docs.slack.dev, "Verifying requests from Slack": signed well, and no interaction.
#[tokio::test(flavor = "multi_thread")]
async fn slacks_own_example_is_known_for_five_minutes() {
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const HEADERS: &str = "X-Slack-Request-Timestamp: 1531420618\r\nX-Slack-Signature: v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503\r\n";
    let folder = tempfile::tempdir().unwrap();
    let config = config(
        folder.path(),
        &format!("[dispatcher.slack]\nsigning_secrets = [\"{SECRET}\"]\n"),
    );
    let world = World::open(&config).await.unwrap();
    for (seconds, body, status) in [
        (0, BODY, 400),
        (300, BODY, 400),
        (301, BODY, 401),
        (-300, BODY, 400),
        (-301, BODY, 401),
        (0, &BODY[1..], 401),
    ] {
        let clock = Arc::new(ManualClock::at(Instant((1_531_420_618 + seconds) * 1_000_000)));
        let orders = LogOrders {
            log: world.runtime.log.clone(),
            store: world.store.clone(),
            clock: clock.clone(),
            observe: world.observe.clone(),
            signer: world.topology.signer.clone(),
        };
        let dispatcher = WebhookSource::bind(config.dispatcher.clone())
            .await
            .unwrap()
            .with_clock(clock);
        let http = Http::new().unwrap();
        let dispatcher = dispatcher.with_answers(Arc::new(SlackAnswers {
            orders,
            http,
            similar: None,
        }));
        let address = dispatcher.local_addr();
        let ingress = Ingress::open(world.runtime.log.clone(), topics::EVENTS_RAW, 1 << 20)
            .await
            .unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(Box::new(dispatcher).run(ingress, stop.clone()));
        let (found, answer) = raw(address, HEADERS, body).await;
        assert_eq!(found, status, "{seconds} s: {answer}");
        if found == 400 {
            // The same again means nothing new.
            assert_eq!(raw(address, HEADERS, body).await.0, 200);
        }
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}

/// Runs these roles; where they listen, and how to stop them.
async fn started(
    config: &Config,
    roles: &[Role],
) -> (
    Addresses,
    CancellationToken,
    tokio::task::JoinHandle<anyhow::Result<()>>,
) {
    let world = World::open(config).await.unwrap();
    let metrics = metrics_exporter_prometheus::PrometheusBuilder::new()
        .build_recorder()
        .handle();
    let stop = CancellationToken::new();
    let (tell, told) = oneshot::channel();
    let (closing, roles) = (stop.clone(), RunArgs { roles: roles.to_vec() });
    let running = tokio::spawn(async move {
        let started = Box::new(|addresses| {
            let _ = tell.send(addresses);
        });
        run(world, &roles, metrics, closing, started).await
    });
    let addresses = tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
    (addresses, stop, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heart_beats_only_while_alerts_get_through() {
    use Role::{Correlate, Crew, Dedupe, Dispatcher, Gate, Gateway, Normalize, Sinks};
    let folder = tempfile::tempdir().unwrap();
    let (url, mut beats) = stand_in().await;
    let extra = |bound: &str| format!("[heartbeat]\nurl = \"{url}\"\nevery = \"1s\"\nbound = \"{bound}\"\n");
    let whole = config(folder.path(), &extra("60s"));
    let (addresses, stop, running) = started(&whole, &[]).await;
    next(&mut beats).await;
    // It stands in the tables, and nobody is shown it.
    let gateway = addresses.gateway.unwrap();
    let (status, listed) = get(gateway, "GET /api/v1/incidents", "", "").await;
    assert!(status == 200 && !listed.contains("AegisCanary"), "{listed}");
    stop.cancel();
    running.await.unwrap().unwrap();

    let short = config(folder.path(), &extra("2s"));
    let all = [Dispatcher, Normalize, Dedupe, Correlate, Crew, Gate, Sinks, Gateway];
    for (missing, hop) in [
        (Normalize, "normalize"),
        (Dedupe, "dedupe"),
        (Correlate, "correlate"),
        (Sinks, "sink"),
    ] {
        while beats.try_recv().is_ok() {}
        let roles: Vec<Role> = all.into_iter().filter(|role| *role != missing).collect();
        let (addresses, stop, running) = started(&short, &roles).await;
        let gateway = addresses.gateway.unwrap();
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (_, ready) = get(gateway, "GET /readyz", "", "").await;
            if ready.contains(&format!("a canary stopped at {hop}")) {
                break;
            }
            assert!(tokio::time::Instant::now() < until, "{hop}: {ready}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(beats.try_recv().is_err(), "{hop}: no heartbeat while it is stopped");
        stop.cancel();
        running.await.unwrap().unwrap();
    }
}
