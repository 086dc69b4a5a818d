//! A world with tools that are connected to it.

// Every test file is a crate of its own and uses its part.
#![allow(dead_code)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use model::approval::{Approved, Approver, Grant, approve};
use model::proposal::{BlastRadius, Proposal, TargetState};
use model::{Action, IncidentId, Workload, WorkloadKind};
use serde_json::{Value, json};
use tools::act::Act;
use tools::observe::{Cluster, Observe};
use tools::{ToolsSettings, connect};
use uuid::Uuid;
use world::{Running, Scenario, World};

/// The token of every tool here. It must appear nowhere else.
pub const TOKEN: &str = "t0ken-of-the-test";

/// The token of the executor.
pub const WRITE_TOKEN: &str = "wr1te-token-of-the-test";

/// The repository that may be written to.
pub const REPOSITORY: &str = "shop/api-server";

pub struct Bench {
    pub world: World,
    pub running: Running,
    pub observe: Observe,
    pub act: Act,
}

pub const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub async fn bench(scenario: Scenario) -> Bench {
    bench_within(scenario, 30).await
}

pub async fn bench_within(scenario: Scenario, timeout_s: u64) -> Bench {
    let world = World::new(scenario);
    let running = world.start(LOOPBACK).await.unwrap();
    let settings = settings_within(&running.url(), timeout_s);
    assert_eq!(settings.faults(), [""; 0]);
    Bench {
        observe: connect::observe(&settings).await.unwrap(),
        act: connect::act(&settings).await.unwrap(),
        world,
        running,
    }
}

/// Small bounds, so that a test meets them, and all the time in the world.
pub fn settings(url: &str) -> ToolsSettings {
    settings_within(url, 30)
}

/// The same with this deadline of every request.
pub fn settings_within(url: &str, timeout_s: u64) -> ToolsSettings {
    serde_json::from_value(json!({
        "prometheus": {"url": format!("{url}/prometheus"), "token": TOKEN, "timeout_s": timeout_s, "max_answer_bytes": 1 << 20, "max_series": 20},
        "loki": {"url": url, "token": TOKEN, "tenant": "shop", "timeout_s": timeout_s, "max_answer_bytes": 1 << 20, "max_lines": 50, "max_line_chars": 200},
        "slack": {"url": format!("{url}/api"), "token": TOKEN, "channels": ["C1", "C2"], "timeout_s": timeout_s, "max_answer_bytes": 1 << 20},
        "github": {"url": format!("{url}/github"), "token": TOKEN, "write_token": WRITE_TOKEN, "repositories": [REPOSITORY, "shop/web"], "write": [REPOSITORY],
                   "timeout_s": timeout_s, "max_answer_bytes": 1 << 20, "max_commits": 2, "max_diff_chars": 400},
        "jira": {"url": format!("{url}/jira"), "user": "kim@example.org", "token": TOKEN, "write_token": WRITE_TOKEN, "projects": ["OPS"], "write": ["OPS"],
                 "follow_ups": "OPS", "timeout_s": timeout_s, "max_answer_bytes": 1 << 20, "max_tickets": 2},
        "kubernetes": {"url": url, "timeout_s": timeout_s, "max_answer_bytes": 1 << 20},
    }))
    .unwrap()
}

impl Bench {
    /// Tools that remember nothing.
    pub async fn fresh_tools(&mut self) {
        self.observe = connect::observe(&settings(&self.running.url())).await.unwrap();
        self.act = connect::act(&settings(&self.running.url())).await.unwrap();
    }

    pub fn cluster(&self) -> &dyn Cluster {
        self.observe.cluster.as_deref().unwrap()
    }

    /// What a granted proposal of `action` comes to, on the state that is there now.
    pub async fn approved(&self, action: &Action) -> Approved<Action> {
        let state = self.observe.state(action).await.unwrap();
        approved(action, &state)
    }
}

/// Before anything here happened.
pub fn long_ago() -> DateTime<Utc> {
    Utc::now() - TimeDelta::hours(1)
}

/// Through the only door there is.
pub fn approved(action: &Action, state: &TargetState) -> Approved<Action> {
    approved_as(Uuid::new_v4(), action, state)
}

/// The same for the attempt `id`.
pub fn approved_as(id: Uuid, action: &Action, state: &TargetState) -> Approved<Action> {
    let now = Utc::now();
    let incident: IncidentId = serde_json::from_value(json!(Uuid::nil())).unwrap();
    let proposal = Proposal {
        id,
        incident_id: incident,
        tenant: String::new(),
        environment: String::new(),
        action: action.clone(),
        plan_hash: action.plan_hash(),
        reason: String::new(),
        citations: Vec::new(),
        dry_run: String::new(),
        inverse: None,
        blast_radius: BlastRadius {
            workloads: 1,
            pods: model::approval::pods_touched(action, state),
        },
        target: state.clone(),
        proposed_by: "agent:fixer".to_owned(),
        proposed_at: now,
        expires_at: now + TimeDelta::hours(1),
    };
    let human = Approver::Human { name: "kim".to_owned() };
    let grant = Grant::of(&proposal, human, now, proposal.expires_at);
    approve(&proposal, &grant, state, false, now).unwrap()
}

pub fn workload(kind: WorkloadKind, name: &str) -> Workload {
    Workload {
        cluster: "default".to_owned(),
        namespace: "production".to_owned(),
        kind,
        name: name.to_owned(),
    }
}

pub fn api_server() -> Workload {
    workload(WorkloadKind::Deployment, "api-server")
}

pub fn restart() -> Action {
    Action::Restart { target: api_server() }
}

/// Asks until `ask` has an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), asking).await;
    answer.unwrap_or_else(|_| panic!("waited for {what}"))
}

/// A line for the Loki stand-in, `seconds_ago`.
pub fn line(labels: Value, seconds_ago: i64, text: &str) -> world::loki::Line {
    let at = Utc::now() - TimeDelta::seconds(seconds_ago);
    world::loki::Line {
        labels: serde_json::from_value(labels).unwrap(),
        metadata: Default::default(),
        at_ns: at.timestamp_nanos_opt().unwrap(),
        text: text.to_owned(),
    }
}

/// `None`, or a panic under `make test`, where the variable is not set.
pub fn required(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Some(value),
        _ if std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|require| require == "1") => {
            panic!("{name} is not set: run the tests through `make test`")
        }
        _ => {
            eprintln!("not run: {name} is not set (see scripts/test-services.sh)");
            None
        }
    }
}
