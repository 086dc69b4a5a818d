//! One story, and the same with one cause changed: other causes, other outcome.

use agents::AgentSettings;
use agents::postmortem::NOT_KNOWN;
use model::evidence::{FindingKind, Postmortem};
use model::investigation::{Agent, StepStatus, TriageAction};
use model::{Action, Severity, WorkloadKind};

use crate::support::crew::{Told, investigate};
use crate::support::{World, at, line, pod, suspect};

async fn told(world: World) -> Told {
    let told = investigate(&world, &AgentSettings::default()).await;
    holds(&told);
    told
}

/// What every investigation keeps: findings and statements cite, steps end well.
pub fn holds(told: &Told) {
    for finding in &told.evidence.findings {
        assert!(!finding.citations.is_empty(), "{finding:?}");
    }
    report_holds(told.report());
    if let Some(proposal) = told.proposal() {
        assert!(!proposal.citations.is_empty());
        assert_eq!(proposal.plan_hash, proposal.action.plan_hash());
        assert_eq!(
            proposal.expires_at - proposal.proposed_at,
            chrono::TimeDelta::minutes(15)
        );
    }
}

pub fn report_holds(report: &Postmortem) {
    let known: Vec<&String> = report.citations.iter().map(|citation| &citation.id).collect();
    let statements = [&report.root_cause, &report.impact, &report.resolution];
    for statement in statements.into_iter().chain(&report.follow_ups) {
        assert!(
            !statement.citations.is_empty() || statement.text.starts_with(NOT_KNOWN),
            "{statement:?}"
        );
        assert!(
            statement.citations.iter().all(|id| known.contains(&id)),
            "{statement:?}"
        );
    }
    for moment in &report.timeline {
        assert!(!moment.citations.is_empty(), "{moment:?}");
        assert!(moment.citations.iter().all(|id| known.contains(&id)), "{moment:?}");
    }
    assert!(report.timeline.is_sorted_by_key(|moment| moment.at));
}

#[tokio::test]
async fn the_whole_story() {
    let told = told(World::default()).await;
    let triage = told.evidence.triage.as_ref().unwrap();
    assert_eq!(
        (triage.severity, triage.action),
        (Severity::Critical, TriageAction::Investigate)
    );

    let memory = told.finding(FindingKind::OutOfMemory).unwrap();
    assert_eq!(memory.facts["count"], 47);
    assert_eq!(memory.facts["path"], "/api/reports");
    let templates = memory.facts["templates"].as_array().unwrap();
    let counted: u64 = templates.iter().filter_map(|template| template["count"].as_u64()).sum();
    assert_eq!(counted, 47, "{templates:?}");
    let change = told.finding(FindingKind::MetricChange).unwrap();
    assert_eq!(change.facts["onset"], serde_json::json!(at(-5)));
    let traffic = told.finding(FindingKind::TrafficBeforeSymptom).unwrap();
    for (finding, least) in [(change, 20), (traffic, 20)] {
        let points = finding.facts["points"].as_array().expect("a curve to draw");
        assert!((least..=60).contains(&points.len()), "{}", points.len());
    }
    assert_eq!(traffic.facts["lag_minutes"], 10);
    assert_eq!(traffic.facts["factor"], 3.0);
    assert_eq!(told.finding(FindingKind::UnhealthyPods).unwrap().facts["oom_killed"], 1);
    assert_eq!(
        told.finding(FindingKind::RecentChange).unwrap().facts["before_s"],
        20 * 60
    );

    assert_eq!(told.action(), "restart deployment/api-server in production");
    let proposal = told.proposal().unwrap();
    assert_eq!(
        (proposal.blast_radius.pods, proposal.proposed_by.as_str()),
        (2, "agent:fixer")
    );
    assert!(proposal.reason.contains("47 log lines"), "{}", proposal.reason);
    let root_cause = &told.report().root_cause.text;
    for part in [
        "Memory ran out in api-server (47 log lines), most often about /api/reports",
        "3.0 times",
        "10 min",
        "a change of the service came 20 min before",
    ] {
        assert!(root_cause.contains(part), "{root_cause}");
    }
    assert!(told.steps.iter().all(|step| step.status == StepStatus::Success));
    assert!(told.step(Agent::Triage).tool_calls[0].tool == "prometheus_query");
}

#[tokio::test]
async fn the_same_twice_is_the_same() {
    let (mut a, mut b) = (told(World::default()).await, told(World::default()).await);
    for step in a.steps.iter_mut().chain(&mut b.steps) {
        step.duration_ms = 0;
        step.tool_calls.iter_mut().for_each(|call| call.duration_ms = 0);
    }
    assert_eq!(a.steps, b.steps);
    assert_eq!(a.evidence, b.evidence);
}

#[tokio::test]
async fn other_causes_other_outcomes() {
    async fn check(name: &str, change: impl FnOnce(&mut World), action: &str, cause: &str) {
        let mut world = World::default();
        change(&mut world);
        let told = told(world).await;
        assert!(told.action().contains(action), "{name}: {}", told.action());
        let root_cause = &told.report().root_cause.text;
        assert!(root_cause.contains(cause), "{name}: {root_cause}");
    }
    let steady = |_: i64| 100.0;
    check(
        "no deployment",
        |w| w.suspects.clear(),
        "restart deployment/api-server",
        "traffic had risen to 3.0",
    )
    .await;
    check(
        "no rise of traffic: the change is the only thing that came before",
        |w| _ = w.curves.insert("http_requests_total", steady),
        "roll deployment/api-server back to revision 6",
        "a change of the service came 20 min before",
    )
    .await;
    check(
        "neither",
        |w| {
            w.suspects.clear();
            w.curves.insert("http_requests_total", steady);
        },
        "restart deployment/api-server",
        "what used it up is not known",
    )
    .await;
    check(
        "no process ran out: more of them share the load",
        |w| {
            w.lines.clear();
            w.pods = vec![pod("api-server-1", 0, None)];
        },
        "scale deployment/api-server to 3 replicas",
        "Memory of api-server was short",
    )
    .await;
    check(
        "a daemon set cannot be scaled",
        |w| {
            w.lines.clear();
            w.pods.clear();
            w.workloads[0].kind = WorkloadKind::DaemonSet;
        },
        "cannot be scaled",
        "Memory of api-server was short",
    )
    .await;
    check(
        "the cap",
        |w| {
            w.lines.clear();
            w.pods.clear();
            w.replicas = 10;
        },
        "max_replicas",
        "Memory of api-server was short",
    )
    .await;
    check(
        "log lines alone move nothing",
        |w| {
            w.curves.clear();
            w.suspects.clear();
            w.pods = vec![pod("api-server-1", 0, None)];
        },
        "log lines alone move nothing",
        "Memory ran out in api-server",
    )
    .await;
    check(
        "a database that refuses",
        |w| {
            w.title = "HighErrorRate api-server".into();
            w.curves.clear();
            w.suspects.clear();
            w.pods = vec![pod("api-server-1", 0, None)];
            w.lines = (0..30)
                .map(|i| line(i % 5, &format!("dial tcp 10.0.0.{i}:5432: connection refused")))
                .collect();
        },
        "have no cause that a restart",
        "Not known. What was seen: 30 error lines of 1 kinds; 30 of them: dial tcp <ip>: connection refused",
    )
    .await;
    check(
        "the same after a rollout",
        |w| {
            w.title = "HighErrorRate api-server".into();
            w.curves.clear();
            w.pods = vec![pod("api-server-1", 0, None)];
            w.lines = (0..30).map(|i| line(i % 5, "connection refused")).collect();
        },
        "roll deployment/api-server back to revision 6",
        "Probably a change of api-server: the trouble began 25 min after it",
    )
    .await;
    check(
        "a change that the cluster saw nothing of",
        |w| {
            w.title = "HighErrorRate api-server".into();
            w.curves.clear();
            w.pods = vec![pod("api-server-1", 0, None)];
            w.lines = vec![line(1, "connection refused")];
            w.revisions
                .iter_mut()
                .for_each(|revision| revision.created_at = Some(at(-9_999)));
        },
        "a change is suspected, but",
        "Probably a change of api-server",
    )
    .await;
    check(
        "a later change of something else",
        |w| {
            w.suspects.push(suspect(-6, "a flag was set"));
            w.curves.insert("http_requests_total", steady);
        },
        "roll deployment/api-server back to revision 6",
        "Memory ran out in api-server",
    )
    .await;
    check(
        "errors that may be older than the change",
        |w| {
            w.title = "HighErrorRate api-server".into();
            w.curves.clear();
            w.pods.clear();
            w.lines = (-20..5).map(|minute| line(minute, "connection refused")).collect();
        },
        "a change is suspected, but",
        "Not known. What was seen: 20 error lines",
    )
    .await;
    check(
        "a change of long ago",
        |w| {
            w.suspects = vec![suspect(-120, "api-server v2 rolled out")];
            w.curves.insert("http_requests_total", steady);
        },
        "restart deployment/api-server",
        "what used it up is not known",
    )
    .await;
    check(
        "two workloads, none of that name",
        |w| w.workloads = vec![crate::support::workload("web"), crate::support::workload("worker")],
        "lists 2 workloads",
        "Memory ran out in api-server",
    )
    .await;
    check(
        "no pods",
        |w| w.replicas = 0,
        "scaled to no pods",
        "Memory ran out in api-server",
    )
    .await;
    check("no service", |w| w.service.clear(), "names no service", "Not known").await;
}

#[tokio::test]
async fn nothing_is_wrong_that_anybody_can_see() {
    let told = told(World::quiet()).await;
    assert_eq!(told.evidence.findings, Vec::new());
    assert!(told.action().contains("nothing was found"), "{}", told.action());
    let report = told.report();
    assert_eq!(
        report.root_cause.text,
        "Not known: nothing that was looked at explains it."
    );
    assert!(report.impact.text.contains("How users were affected is not known"));
    assert!(
        report
            .follow_ups
            .iter()
            .all(|question| question.text.starts_with(NOT_KNOWN))
    );
    assert_eq!(told.evidence.triage.as_ref().unwrap().severity, Severity::Warning);
}

#[tokio::test]
async fn targets_are_what_the_cluster_lists() {
    let told = told(World {
        namespace: None,
        ..World::default()
    })
    .await;
    let Some(Action::Restart { target }) = told.proposal().map(|proposal| proposal.action.clone()) else {
        panic!("{}", told.action());
    };
    assert_eq!(target.namespace, "production");
}
