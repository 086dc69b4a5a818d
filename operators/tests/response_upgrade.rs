//! Crew and gate take over what logic version 1 kept: a frozen sample (fixtures/PROVENANCE.md), in the middle of two incidents. Nothing is
//! asked twice, spent twice or forgotten.

#[path = "support/theatre.rs"]
mod theatre;

use serde_json::Value;
use stream::Operator;
use stream::operator::MigrateError;
use stream::state::SavedCells;
use theatre::*;

const SAMPLE: &str = include_str!("fixtures/response-logic-1.json");

/// The cells of one operator, as a snapshot hands them to a migration.
fn cells(sample: &Value, operator: &str) -> SavedCells {
    let mut saved = SavedCells::default();
    for cell in sample[operator].as_array().unwrap() {
        let hex = cell[1].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        saved.push(cell[0].as_str().unwrap(), true, &bytes);
    }
    saved
}

/// The theatre as version 1 left it: one remediation executed and not checked, one waiting for a human, one investigation whose metric
/// correlator has not answered.
fn left_behind() -> (Theatre, Uuid, Uuid, String) {
    left_behind_by(1)
}

/// `version`: of the crew. 2 kept its cells as 1 did.
fn left_behind_by(version: u32) -> (Theatre, Uuid, Uuid, String) {
    let sample: Value = serde_json::from_str(SAMPLE).unwrap();
    let mut t = Theatre::new(vec![allow()]);
    t.crew.operator.migrate(version, &cells(&sample, "crew")).unwrap();
    t.gate.operator.migrate(1, &cells(&sample, "gate")).unwrap();
    t.now = sample["now"].as_i64().unwrap();
    t.asked = serde_json::from_value(sample["asked"].clone()).unwrap();
    t.ledger = serde_json::from_value(sample["ledger"].clone()).unwrap();
    let id = |name: &str| sample[name].as_str().unwrap().parse().unwrap();
    let plan_hash = sample["plan_hash"].as_str().unwrap().to_owned();
    (t, id("executed"), id("waiting"), plan_hash)
}

#[test]
fn an_execution_is_checked_and_its_incident_resolved() {
    let (mut t, executed, ..) = left_behind();
    t.pass(5);
    t.say(executed, checked(1, Health::NotYet));
    t.pass(5);
    t.say(executed, checked(2, Health::Recovered));
    assert_eq!(t.fact_names().last(), Some(&"verified"), "{:?}", t.fact_names());
    assert_eq!(t.agents().last(), Some(&"postmortem_writer"));
    t.answer(Agent::PostmortemWriter, reported());
    assert_eq!(t.orders(), ["postmortem", "resolve"]);
    // The chain goes on where version 1 left it.
    t.verify_ledger();
}

#[test]
fn an_investigation_goes_on_with_what_it_had_found() {
    let (mut t, ..) = left_behind();
    let asked = t.asked.len();
    t.answer(Agent::MetricCorrelator, found(FindingKind::TrafficBeforeSymptom));
    assert_eq!(t.asked.len(), asked + 1, "one step more");
    let fixer = t.asked.last().unwrap();
    assert_eq!((fixer.agent, fixer.evidence.findings.len()), (Agent::Fixer, 2));
    assert_eq!(fixer.evidence.incident.title, "b is down");
    // The answer counts once.
    t.answer(Agent::MetricCorrelator, found(FindingKind::TrafficBeforeSymptom));
    assert_eq!(t.asked.len(), asked + 1);
}

#[test]
fn an_investigation_of_version_2_does_not_wait_for_agents_that_were_not_asked() {
    let (mut t, ..) = left_behind_by(2);
    let asked = t.asked.len();
    t.answer(Agent::MetricCorrelator, found(FindingKind::TrafficBeforeSymptom));
    assert_eq!(t.agents()[asked..], ["fixer"]);
    // The next investigation has them.
    let event = suspected("c", t.now);
    t.tell(&opened("c", Severity::Critical, t.now));
    t.tell(&event);
    t.answer(Agent::Triage, investigate());
    assert_eq!(
        t.agents()[asked + 2..],
        [
            "log_analyst",
            "metric_correlator",
            "security_auditor",
            "compliance_checker"
        ]
    );
}

#[test]
fn a_step_that_nobody_answers_is_asked_again_at_its_deadline() {
    let (mut t, ..) = left_behind();
    let asked = t.asked.len();
    t.pass(45);
    let again = &t.asked[asked..];
    assert!(
        again
            .iter()
            .any(|one| (one.agent, one.attempt) == (Agent::MetricCorrelator, 2)),
        "{:?}",
        t.agents()
    );
}

#[test]
fn what_waits_for_a_human_is_granted_once_and_a_spent_budget_stays_spent() {
    let (mut t, _, waiting, plan_hash) = left_behind();
    let yes = |by: &str| RemediationFact::Approve {
        by: by.into(),
        plan_hash: plan_hash.clone(),
    };
    // The rule's one execution was used under version 1.
    let incident = t.asked.last().unwrap().evidence.incident.id;
    let mut another = proposal(incident, t.now);
    another.id = Uuid::from_u128(3);
    let event = RemediationEvent::new(
        another.id,
        incident,
        at(t.now),
        RemediationFact::Proposed {
            proposal: Box::new(another.clone()),
        },
    );
    t.hear(&event);
    assert_eq!(t.fact_names(), ["decided"], "asked, not allowed");
    t.say(waiting, yes("human:ada"));
    t.say(waiting, yes("human:bob"));
    assert_eq!(t.fact_names(), ["decided", "granted"]);
    t.verify_ledger();
}

#[test]
fn what_nobody_answers_expires() {
    let (mut t, _, waiting, _) = left_behind();
    t.pass(15 * 60);
    let expired = t.facts.iter().find(|event| event.fact == RemediationFact::Expired);
    assert_eq!(expired.map(|event| event.id), Some(waiting));
}

#[test]
fn another_version_is_refused() {
    let sample: Value = serde_json::from_str(SAMPLE).unwrap();
    let mut t = Theatre::new(vec![]);
    for from in [0, 3] {
        let refused = t.crew.operator.migrate(from, &cells(&sample, "crew"));
        assert!(matches!(refused, Err(MigrateError::NoWay { .. })), "{refused:?}");
        let refused = t.gate.operator.migrate(from, &cells(&sample, "gate"));
        assert!(matches!(refused, Err(MigrateError::NoWay { .. })), "{refused:?}");
    }
}
