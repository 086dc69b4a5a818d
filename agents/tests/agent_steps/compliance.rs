//! The compliance checker at an incident, and the policies over facts of the log.

use std::sync::Arc;

use agents::AgentSettings;
use agents::compliance::{
    ComplianceSettings, LedgerHead, LedgerMark, Policies, judge, of_finding, of_incident, of_projection,
    of_remediation, once, pack, verify,
};
use async_trait::async_trait;
use model::approval::{Approver, Grant};
use model::evidence::FindingKind;
use model::investigation::{Agent, StepResult, StepStatus};
use model::ledger::digest;
use model::proposal::{BlastRadius, Proposal, TargetState};
use model::remediation::{RemediationEvent, RemediationFact};
use model::{Action, ComplianceRecord, Fact, IncidentEvent, Severity, Verdict, topics};
use serde_json::{Value, json};
use tools::ToolError;
use tools::observe::Infrastructure;
use tools::terraform::plan::{Change, Plan};
use tools::terraform::{Drift, Folder, OfPlan, SavedPlan, State};
use uuid::Uuid;

use crate::support::crew::request;
use crate::support::{COMMIT, Mood, World, at, now, workload};

/// Terraform with one folder per environment.
struct Code {
    clean: bool,
    mood: Mood,
}

#[async_trait]
impl Infrastructure for Code {
    fn folders(&self) -> Vec<Folder> {
        let folder = |name: &str, environment: &str| Folder {
            name: name.into(),
            environment: environment.into(),
        };
        vec![folder("shop", "prod"), folder("lab", "dev")]
    }

    async fn plan(&self, _: &OfPlan) -> Result<SavedPlan, ToolError> {
        unreachable!("no saved plan is looked at")
    }

    async fn state(&self, _: &str) -> Result<State, ToolError> {
        unreachable!("no state is looked at")
    }

    async fn drift(&self, folder: &str) -> Result<Drift, ToolError> {
        assert_eq!(folder, "shop", "only what describes the incident's environment");
        if self.mood == Mood::Hangs {
            std::future::pending::<()>().await;
        }
        let change = Change {
            address: "aws_instance.web".into(),
            kind: "aws_instance".into(),
            actions: vec!["update".into()],
            attributes: vec!["tags".into()],
        };
        let drifted = if self.clean { Vec::new() } else { vec![change] };
        Ok(Drift {
            folder: folder.into(),
            clean: self.clean,
            plan: Plan {
                change: drifted.len() as u32,
                changes: drifted.clone(),
                drift: drifted,
                ..Plan::default()
            },
        })
    }
}

async fn check(world: &World, code: Option<Code>) -> StepResult {
    let (mut tools, _) = world.tools();
    tools.infrastructure = code.map(|code| Arc::new(code) as Arc<dyn Infrastructure>);
    let settings = AgentSettings {
        step_timeout: stream::human::HumanDuration::from_millis(2_000),
        ..AgentSettings::default()
    };
    let step = agents::run(
        &request(Agent::ComplianceChecker, &world.evidence()),
        &tools,
        &settings,
        now(),
    )
    .await;
    for finding in &step.output.findings {
        assert!(
            finding.kind == FindingKind::Drift && !finding.citations.is_empty(),
            "{finding:?}"
        );
    }
    step
}

fn systems(step: &StepResult) -> Vec<(String, bool)> {
    let told = step.output.findings.iter().map(|finding| {
        let system = finding.facts["system"].as_str().unwrap().to_owned();
        (system, finding.facts["clean"] == true)
    });
    told.collect()
}

#[tokio::test]
async fn drift_of_infrastructure_and_workload() {
    let mut world = World::quiet();
    world.code = Mood::Works;
    world.revisions[0].images = vec![format!("registry/api-server:{}", &COMMIT[..7])];
    let works = |clean: bool| Code {
        clean,
        mood: Mood::Works,
    };
    let clean = check(&world, Some(works(true))).await;
    assert_eq!(
        systems(&clean),
        [("terraform".into(), true), ("kubernetes".into(), true)]
    );
    assert_eq!(clean.output.unknown, [""; 0]);

    world.revisions[0].images = vec!["registry/api-server:0a1b2c3".into()];
    let drifted = check(&world, Some(works(false))).await;
    assert_eq!(
        systems(&drifted),
        [("terraform".into(), false), ("kubernetes".into(), false)]
    );
    assert!(
        drifted.output.findings[0]
            .summary
            .contains("behind its back: aws_instance.web"),
        "{:?}",
        drifted.output
    );

    // A tag that names no commit proves nothing.
    world.revisions[0].images = vec!["registry/api-server:v7".into()];
    let unsure = check(&world, None).await;
    assert_eq!(systems(&unsure), []);
    assert!(
        unsure.output.unknown[0].contains("names a commit"),
        "{:?}",
        unsure.output.unknown
    );

    let hangs = Code {
        clean: true,
        mood: Mood::Hangs,
    };
    let late = check(&world, Some(hangs)).await;
    assert!(
        late.output.unknown[0].contains("whether shop is what its code says"),
        "{:?}",
        late.output.unknown
    );

    world.code = Mood::Absent;
    let none = check(&world, None).await;
    assert!(
        none.output.unknown[0].contains("configured"),
        "{:?}",
        none.output.unknown
    );
}

fn policies() -> Policies {
    Policies::load(&ComplianceSettings::default()).unwrap()
}

/// Policy and verdict of everything that is said.
fn said(records: &[ComplianceRecord]) -> Vec<(&str, Verdict)> {
    records
        .iter()
        .map(|record| (record.policy.as_str(), record.verdict))
        .collect()
}

fn projection(key: &str, more: Value) -> Vec<u8> {
    let mut told = json!({
        "schema": 1, "id": "0d9a5c1e-0000-5000-8000-000000000001", "dedup_key": key, "tenant": "default", "environment": "prod", "source": "github",
        "severity": "critical", "title": "title password=hunter2", "description": null, "service": "cart", "cluster": null, "namespace": null,
        "at": "2026-11-29T12:00:00Z", "observed_at": "2026-11-29T12:00:01Z", "labels": {"actor": "kim", "api_token": "hunter2hunter2"},
        "annotations": {}, "extra": null,
    });
    told.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    told.to_string().into_bytes()
}

#[test]
fn changes_and_weaknesses() {
    use Verdict::{Pass, Violation};
    let check = |topic: &str, record: Vec<u8>, expected: &[(&str, Verdict)]| {
        let fact = of_projection(topic, &record).unwrap().unwrap();
        let records = judge(&policies(), &fact);
        assert_eq!(said(&records), expected);
        for record in &records {
            assert!(
                !serde_json::to_string(record).unwrap().contains("hunter2"),
                "{record:?}"
            );
            assert_eq!(
                (record.environment.as_str(), record.service.as_deref()),
                ("prod", Some("cart"))
            );
        }
    };
    // A Sunday, and nobody approved it.
    check(
        topics::DEPLOYMENTS,
        projection("gh:shop/cart:deployment_status:1:2", json!({})),
        &[("change-approved", Violation), ("change-window", Violation)],
    );
    check(
        topics::DEPLOYMENTS,
        projection(
            "x",
            json!({"labels": {"approver": "ada"}, "at": "2026-11-30T12:00:00Z"}),
        ),
        &[("change-approved", Pass), ("change-window", Pass)],
    );
    check(
        topics::DEPLOYMENTS,
        projection("x", json!({"environment": "prod", "labels": {"emergency": "yes"}})),
        &[("change-approved", Violation)],
    );
    check(
        topics::COMPLIANCE,
        projection(
            "gh:shop/cart:secret_scanning_alert:1",
            json!({"extra": {"alert": {"state": "open"}}}),
        ),
        &[("no-secret-in-a-repository", Violation)],
    );
    check(
        topics::COMPLIANCE,
        projection(
            "gh:shop/cart:dependabot_alert:1",
            json!({"extra": {"alert": {"state": "fixed"}}}),
        ),
        &[("no-severe-weakness", Pass)],
    );
    check(
        topics::COMPLIANCE,
        projection("gh:shop/cart:dependabot_alert:1", json!({"severity": "warning"})),
        &[],
    );
    let staging = projection("x", json!({"environment": "staging"}));
    assert_eq!(
        judge(
            &policies(),
            &of_projection(topics::DEPLOYMENTS, &staging).unwrap().unwrap()
        ),
        []
    );
    of_projection(topics::DEPLOYMENTS, b"[]").unwrap_err();
}

fn incident(fact: Fact, key: &str, minutes: i64) -> (IncidentEvent, Vec<u8>) {
    let mut incident = World::default().evidence().incident;
    incident.severity = Severity::Critical;
    incident.alert_id = key.into();
    incident.resolved_at = matches!(fact, Fact::Resolved).then(|| at(minutes));
    let event = IncidentEvent {
        schema: IncidentEvent::SCHEMA,
        incident,
        fact,
        at: at(minutes),
        observed_at: at(minutes),
        origin: None,
    };
    let bytes = serde_json::to_vec(&event).unwrap();
    (event, bytes)
}

#[test]
fn answers_to_incidents() {
    use Verdict::{Pass, Violation};
    let check = |fact: Fact, key: &str, minutes: i64, expected: &[(&str, Verdict)]| {
        let (event, bytes) = incident(fact, key, minutes);
        let records: Vec<ComplianceRecord> = of_incident(&event, &bytes)
            .iter()
            .flat_map(|fact| judge(&policies(), fact))
            .collect();
        assert_eq!(said(&records), expected);
    };
    let by = |by: &str| Fact::Acknowledged { by: by.into() };
    check(by("human:ada"), "am:1", 3, &[("critical-acknowledged", Pass)]);
    check(by("human:ada"), "am:1", 16, &[("critical-acknowledged", Violation)]);
    check(Fact::Resolved, "am:1", 30, &[("critical-recovered", Pass)]);
    let secret = "gh:shop/cart:secret_scanning_alert:1";
    check(
        Fact::Resolved,
        secret,
        4_321,
        &[
            ("critical-recovered", Violation),
            ("security-incident-in-72-hours", Violation),
        ],
    );
    check(
        Fact::Escalated {
            from: Severity::Warning,
        },
        "am:1",
        1,
        &[],
    );
}

fn granted(by: Approver, proposed_by: &str) -> (RemediationEvent, Vec<u8>) {
    let action = Action::Restart {
        target: workload("api-server"),
    };
    let proposal = Proposal {
        id: Uuid::from_u128(9),
        incident_id: World::default().evidence().incident.id,
        tenant: "default".into(),
        environment: "prod".into(),
        plan_hash: action.plan_hash(),
        action,
        reason: String::new(),
        citations: Vec::new(),
        dry_run: String::new(),
        inverse: None,
        blast_radius: BlastRadius::default(),
        target: TargetState {
            uid: "u".into(),
            generation: 1,
            spec_hash: "h".into(),
            resource_version: "1".into(),
            replicas: 1,
            ready: 1,
            detail: Value::Null,
        },
        proposed_by: proposed_by.into(),
        proposed_at: at(1),
        expires_at: at(20),
    };
    let grant = Grant::of(&proposal, by, at(2), at(20));
    let fact = RemediationFact::Granted {
        grant,
        proposal: Box::new(proposal.clone()),
    };
    let event = RemediationEvent::new(proposal.id, proposal.incident_id, at(2), fact);
    let bytes = serde_json::to_vec(&event).unwrap();
    (event, bytes)
}

#[test]
fn four_eyes_and_forged_facts() {
    let check = |by: Approver, proposed_by: &str, verdict: Verdict| {
        let (event, bytes) = granted(by, proposed_by);
        let records = judge(&policies(), &of_remediation(&event, &bytes).unwrap());
        assert_eq!(said(&records), [("remediation-four-eyes", verdict)]);
    };
    let human = |name: &str| Approver::Human { name: name.into() };
    check(human("ada"), "agent:fixer", Verdict::Pass);
    check(human("ada"), "human:ada", Verdict::Violation);
    let rule = Approver::Rule {
        name: "restarts".into(),
        policy: "p".into(),
    };
    check(rule, "agent:fixer", Verdict::Pass);
    let forged = RemediationFact::Forged {
        kind: "granted".into(),
        offset: 7,
        why: "it is not signed".into(),
    };
    let (mut event, _) = granted(human("ada"), "agent:fixer");
    event.fact = forged;
    let records = judge(&policies(), &of_remediation(&event, b"{}").unwrap());
    assert_eq!(said(&records), [("facts-are-signed", Verdict::Violation)]);
    event.fact = RemediationFact::Expired;
    assert_eq!(of_remediation(&event, b"{}"), None);
}

#[tokio::test]
async fn what_the_agents_found_is_judged() {
    let mut world = World::quiet();
    world.code = Mood::Works;
    world.revisions[0].images = vec!["registry/api-server:0a1b2c3".into()];
    let code = Code {
        clean: true,
        mood: Mood::Works,
    };
    let step = check(&world, Some(code)).await;
    assert_eq!(step.status, StepStatus::Success);
    let bytes = serde_json::to_vec(&step).unwrap();
    let facts = of_finding(&step, "default/prod", &bytes);
    let records: Vec<ComplianceRecord> = facts.iter().flat_map(|fact| judge(&policies(), fact)).collect();
    assert_eq!(
        said(&records),
        [
            ("infrastructure-as-code", Verdict::Pass),
            ("workload-as-deployed", Verdict::Violation)
        ]
    );
    assert_eq!(
        (records[0].tenant.as_str(), records[0].environment.as_str()),
        ("default", "prod")
    );
}

#[test]
fn a_pack_is_the_same_bytes_and_shows_every_touch() {
    let (event, bytes) = granted(Approver::Human { name: "ada".into() }, "agent:fixer");
    let mut records = judge(&policies(), &of_remediation(&event, &bytes).unwrap());
    for (key, at) in [("a", "2026-11-30T12:00:00Z"), ("b", "2026-11-29T12:00:00Z")] {
        let id = format!("0d9a5c1e-0000-5000-8000-00000000000{key}");
        let change = projection(
            key,
            json!({"id": id, "at": at, "labels": {"b": 1, "a": {"d": 1, "c": 2}}}),
        );
        records.extend(judge(
            &policies(),
            &of_projection(topics::DEPLOYMENTS, &change).unwrap().unwrap(),
        ));
    }
    let mark = LedgerMark {
        chain: "remediations-0".into(),
        sequence: 2,
        hash: "ab".into(),
        digest: digest(&bytes),
    };
    let head = LedgerHead {
        chain: "remediations-0".into(),
        entries: 3,
        head: "cd".into(),
    };
    let of = |records: &[ComplianceRecord]| {
        pack(
            "SOC2:CC8.1",
            &policies(),
            records,
            std::slice::from_ref(&mark),
            std::slice::from_ref(&head),
        )
        .unwrap()
    };
    let whole = of(&records);
    // In another order, twice over, and through the log's JSON: the same bytes.
    let mut again: Vec<ComplianceRecord> = records.iter().rev().chain(&records).cloned().collect();
    let text = serde_json::to_string(&again).unwrap();
    again = serde_json::from_str(&text).unwrap();
    assert_eq!(of(&again), whole);
    assert_eq!(verify(&whole), Ok(once(&records).len()));
    let read: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!((&read["passes"], &read["violations"]), (&json!(2), &json!(3)));
    let entries = read["entries"].as_array().unwrap();
    let of_ledger = entries.iter().filter(|entry| entry["record"]["kind"] == "remediation");
    assert!(of_ledger.into_iter().all(|entry| entry["ledger"][0]["sequence"] == 2));
    assert_eq!(
        entries[0]["record"]["at"], "2026-11-29T12:00:00Z",
        "in the order of their times"
    );

    let touch = |change: fn(&mut Value)| {
        let mut touched = read.clone();
        change(&mut touched);
        verify(touched.to_string().as_bytes()).unwrap_err();
    };
    touch(|pack| pack["entries"][1]["record"]["verdict"] = "pass".into());
    touch(|pack| pack["entries"].as_array_mut().unwrap().swap(0, 1));
    touch(|pack| {
        pack["entries"].as_array_mut().unwrap().pop();
    });
    touch(|pack| pack["violations"] = 0.into());
    touch(|pack| pack["ledger"] = json!([]));
    verify(b"{}").unwrap_err();
    assert_eq!(pack("SOC2:CC9.9", &policies(), &records, &[], &[]), None);
    // A control without a fact has an empty pack: that nothing happened is evidence as well.
    assert_eq!(verify(&pack("GDPR:Art.33", &policies(), &[], &[], &[]).unwrap()), Ok(0));
}
