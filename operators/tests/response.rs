//! Crew and gate, one behind the other, with the outside played by the test: killed and restored after every step.

#[path = "support/theatre.rs"]
mod theatre;

use theatre::rig::Rig;
use theatre::*;

#[test]
fn from_detection_to_resolution() {
    let mut t = Theatre::new(vec![allow()]);
    let proposal = t.up_to_proposal();
    assert_eq!(t.agents(), ["triage", "log_analyst", "metric_correlator", "fixer"]);
    assert_eq!(
        t.asked[3].evidence.findings.len(),
        2,
        "the fixer is given what the others found"
    );
    assert_eq!(t.fact_names(), ["proposed", "decided", "granted"]);
    t.say(proposal.id, RemediationFact::Attempted { before: state() });
    t.say(proposal.id, executed());
    t.pass(5);
    t.say(proposal.id, checked(1, Health::NotYet));
    t.pass(5);
    t.say(proposal.id, checked(2, Health::Recovered));
    assert_eq!(
        t.fact_names()[3..],
        ["check_due", "check_due", "verified"],
        "what the gate itself said"
    );
    assert_eq!(t.agents().last(), Some(&"postmortem_writer"));
    assert_eq!(
        t.asked.last().unwrap().evidence.remediation.as_ref().unwrap().status,
        RemediationStatus::Verified
    );
    t.answer(Agent::PostmortemWriter, reported());
    assert_eq!(
        t.orders(),
        ["acknowledge", "finding", "finding", "postmortem", "resolve"]
    );
    assert_eq!(t.commands.last().unwrap().by, "agent:postmortem_writer");
    let events: Vec<&str> = t.messages.iter().map(|message| message.event.as_str()).collect();
    assert_eq!(
        events,
        [
            "remediation_granted",
            "remediation_attempted",
            "remediation_executed",
            "remediation_verified"
        ]
    );
    t.verify_ledger();
    let kinds: Vec<&str> = t.ledger.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds[..3], ["proposed", "decided", "granted"]);
    assert!(kinds.contains(&"attempted") && kinds.contains(&"verified"));
}

#[test]
fn who_investigates_depends_on_what_is_suspected() {
    const ALWAYS: [&str; 3] = ["triage", "log_analyst", "metric_correlator"];
    let mut t = Theatre::new(vec![allow()]);
    t.tell(&opened("gh:shop/cart:secret_scanning_alert:2", Severity::Critical, 0));
    t.answer(Agent::Triage, investigate());
    assert_eq!(t.agents(), [&ALWAYS[..], &["security_auditor"]].concat());

    let mut t = Theatre::new(vec![allow()]);
    t.tell(&opened("a", Severity::Critical, 0));
    t.tell(&suspected("a", 0));
    t.answer(Agent::Triage, investigate());
    let asked = [&ALWAYS[..], &["security_auditor", "compliance_checker"]].concat();
    assert_eq!(t.agents(), asked);
    // The fixer waits for all of them, and for nobody beyond a deadline.
    t.answer(Agent::LogAnalyst, found(FindingKind::OutOfMemory));
    t.answer(Agent::MetricCorrelator, found(FindingKind::TrafficBeforeSymptom));
    t.answer(Agent::SecurityAuditor, found(FindingKind::SecretExposed));
    assert_eq!(t.agents(), asked);
    t.answer(Agent::ComplianceChecker, found(FindingKind::Drift));
    assert_eq!(t.agents().last(), Some(&"fixer"));
    assert_eq!(t.asked.last().unwrap().evidence.findings.len(), 4);
    assert_eq!(t.orders(), ["acknowledge", "finding", "finding", "finding", "finding"]);
}

#[test]
fn a_human_answers_once_for_the_plan_that_was_shown() {
    let approve = |by: &str, plan_hash: &str| RemediationFact::Approve {
        by: by.into(),
        plan_hash: plan_hash.into(),
    };
    let mut t = Theatre::new(vec![]);
    let proposal = t.up_to_proposal();
    let hash = proposal.plan_hash.clone();
    assert_eq!(t.fact_names(), ["proposed", "decided"]);
    assert_eq!(t.messages.last().unwrap().event, "remediation_waiting");
    t.say(proposal.id, approve("human:ada", "another plan"));
    t.say(proposal.id, approve("agent:fixer", &hash));
    t.say(proposal.id, approve("human:", &hash));
    t.say(Uuid::from_u128(99), approve("human:ada", &hash));
    assert_eq!(t.fact_names(), ["proposed", "decided"], "none of these is a yes");
    t.say(proposal.id, approve("human:ada", &hash));
    t.say(proposal.id, approve("human:bob", &hash));
    assert_eq!(t.fact_names(), ["proposed", "decided", "granted"], "one grant");
    match &t.facts[2].fact {
        RemediationFact::Granted { grant, .. } => assert_eq!(grant.by.label(), "human:ada"),
        other => panic!("{other:?}"),
    }
    t.verify_ledger();
}

#[test]
fn what_nobody_answers_expires_and_the_run_waits_for_the_end() {
    let mut t = Theatre::new(vec![]);
    t.up_to_proposal();
    t.pass(15 * 60);
    assert_eq!(t.fact_names(), ["proposed", "decided", "expired"]);
    assert!(!t.agents().contains(&"postmortem_writer"));
    t.tell(&resolved(&opened("a", Severity::Critical, 0), 1_000));
    t.answer(Agent::PostmortemWriter, reported());
    assert_eq!(
        t.orders().last(),
        Some(&"postmortem"),
        "it was not the agent who resolved it"
    );
}

#[test]
fn a_denied_fix_is_not_made() {
    let mut t = Theatre::new(vec![]);
    let proposal = t.up_to_proposal();
    let no = RemediationFact::Deny {
        by: "human:ada".into(),
        reason: "not now".into(),
    };
    t.say(proposal.id, no);
    assert_eq!(t.fact_names(), ["proposed", "decided", "denied"]);
    // Whoever says yes behind that is too late.
    t.say(
        proposal.id,
        RemediationFact::Approve {
            by: "human:bob".into(),
            plan_hash: proposal.plan_hash.clone(),
        },
    );
    assert_eq!(t.fact_names().len(), 3);
}

#[test]
fn a_budget_is_spent_once() {
    let mut t = Theatre::new(vec![allow()]);
    t.up_to_proposal();
    let second = t.incident("b", Severity::Critical);
    let mut other = proposal(second, 1);
    other.id = Uuid::from_u128(2);
    t.hear(&RemediationEvent::new(
        other.id,
        second,
        at(1),
        RemediationFact::Proposed {
            proposal: Box::new(other.clone()),
        },
    ));
    let granted = t.fact_names().iter().filter(|name| **name == "granted").count();
    assert_eq!(granted, 1);
    // An hour later there is budget again.
    t.pass(3_601);
    let mut third = other.clone();
    third.id = Uuid::from_u128(3);
    third.expires_at = at(9_000);
    t.hear(&RemediationEvent::new(
        third.id,
        second,
        at(3_601),
        RemediationFact::Proposed {
            proposal: Box::new(third.clone()),
        },
    ));
    let granted = t.fact_names().iter().filter(|name| **name == "granted").count();
    assert_eq!(granted, 2);
}

/// Event time lags behind the clock by as much as senders may be late; the wait for a check does not grow by it.
#[test]
fn a_check_does_not_wait_for_late_senders() {
    let mut t = Theatre::new(vec![allow()]);
    t.pass(0);
    let event_time = at(t.now).timestamp();
    t.now += 300;
    let proposal = t.up_to_proposal();
    t.say(proposal.id, executed());
    t.gate.watermark(event_time + 4);
    t.settle(Vec::new());
    assert!(!t.fact_names().contains(&"check_due"), "not before its time");
    t.gate.watermark(event_time + 5);
    t.settle(Vec::new());
    let due = t.facts.last().unwrap();
    assert_eq!((due.fact.name(), due.at), ("check_due", at(t.now + 5)));
}

#[test]
fn what_made_it_worse_is_taken_back() {
    let mut t = Theatre::new(vec![allow()]);
    let incident = t.incident("a", Severity::Critical);
    let mut plan = proposal(incident, 0);
    plan.inverse = Some(Action::Rollback {
        target: plan.action.workload().unwrap().clone(),
        to_revision: Some(3),
    });
    t.hear(&RemediationEvent::new(
        plan.id,
        incident,
        at(0),
        RemediationFact::Proposed {
            proposal: Box::new(plan.clone()),
        },
    ));
    t.say(plan.id, executed());
    t.pass(5);
    t.say(plan.id, checked(1, Health::Worse));
    assert_eq!(t.fact_names().last(), Some(&"rollback_due"));
    t.say(
        plan.id,
        RemediationFact::RolledBack {
            note: "back at 3".into(),
        },
    );
    assert_eq!(t.messages.last().unwrap().event, "remediation_rolled_back");
}

#[test]
fn what_cannot_be_checked_ends_unverified() {
    let mut t = Theatre::new(vec![allow()]);
    let proposal = t.up_to_proposal();
    t.say(proposal.id, executed());
    for _ in 0..200 {
        t.pass(5);
    }
    assert_eq!(t.fact_names().last(), Some(&"unverified"));
}

#[test]
fn a_step_that_nobody_answers_is_asked_again_and_then_done_without() {
    let mut t = Theatre::new(vec![]);
    t.incident("a", Severity::Critical);
    t.pass(45);
    t.pass(45);
    assert_eq!(t.agents(), ["triage", "triage", "log_analyst", "metric_correlator"]);
    let unknown = &t.asked.last().unwrap().evidence.unknown;
    assert_eq!(unknown.len(), 1);
    assert!(unknown[0].what.contains("timeout"), "{unknown:?}");
    // An answer behind that changes nothing.
    let first = t.asked[0].clone();
    let late = StepResult {
        schema: StepResult::SCHEMA,
        id: first.id,
        run: first.run,
        incident_id: first.evidence.incident.id,
        agent: Agent::Triage,
        status: StepStatus::Success,
        error: String::new(),
        output: triaged(TriageAction::Watch),
        tool_calls: Vec::new(),
        tokens_used: 0,
        duration_ms: 1,
        at: at(91),
    };
    t.step(&StepEvent::Finished(Box::new(late)));
    t.answer(Agent::LogAnalyst, found(FindingKind::ErrorLines));
    t.answer(Agent::LogAnalyst, found(FindingKind::ErrorLines));
    assert_eq!(t.orders(), ["acknowledge", "finding"], "an answer counts once");
}

#[test]
fn a_finding_without_a_citation_is_none() {
    let mut t = Theatre::new(vec![]);
    t.incident("a", Severity::Critical);
    t.answer(Agent::Triage, investigate());
    let mut output = found(FindingKind::ErrorLines);
    output.findings[0].citations.clear();
    t.answer(Agent::LogAnalyst, output);
    assert_eq!(t.orders(), ["acknowledge"]);
}

#[test]
fn triage_may_leave_it_alone() {
    let mut t = Theatre::new(vec![]);
    t.incident("a", Severity::Critical);
    t.answer(Agent::Triage, triaged(TriageAction::Watch));
    assert_eq!(t.agents(), ["triage"]);
    let mild = t.incident("b", Severity::Info);
    assert!(!t.asked.iter().any(|asked| asked.evidence.incident.id == mild));
}

#[test]
fn history_is_not_investigated() {
    let mut t = Theatre::new(vec![]);
    let old = record(serde_json::to_vec(&opened("a", Severity::Critical, 0)).unwrap());
    let taken = stream::Record {
        timestamp: stream::Instant(at(7_200).timestamp_micros()),
        ..old
    };
    t.crew.feed_record(&taken);
    t.settle(Vec::new());
    assert_eq!(t.asked.len(), 0);
}

#[test]
fn a_storm_waits_for_its_turn_most_severe_first() {
    let settings = CrewSettings {
        running: 2,
        ..CrewSettings::default()
    };
    let mut t = Theatre::with(vec![], settings);
    for (name, severity) in [
        ("a", Severity::Warning),
        ("b", Severity::Warning),
        ("c", Severity::Warning),
        ("d", Severity::Critical),
    ] {
        t.incident(name, severity);
    }
    assert_eq!(t.asked.len(), 2);
    t.answer(Agent::Triage, triaged(TriageAction::Watch));
    assert_eq!(t.asked.len(), 3);
    assert_eq!(t.asked[2].evidence.incident.title, "d is down");
}

#[test]
fn people_lead_a_run() {
    let mut t = Theatre::new(vec![]);
    let incident = t.incident("a", Severity::Critical);
    let order = |verb| {
        StepEvent::Ordered(RunOrder {
            incident_id: incident,
            verb,
            by: "human:ada".into(),
            at: at(0),
        })
    };
    t.step(&order(RunVerb::Pause));
    t.answer(Agent::Triage, investigate());
    assert_eq!(t.agents(), ["triage"]);
    t.step(&order(RunVerb::Resume));
    assert_eq!(t.agents(), ["triage", "log_analyst", "metric_correlator"]);
    t.step(&order(RunVerb::Cancel));
    t.answer(Agent::LogAnalyst, found(FindingKind::ErrorLines));
    assert_eq!(t.orders(), ["acknowledge"], "the answer comes too late");
    t.step(&order(RunVerb::Rerun));
    assert_eq!(t.agents().len(), 4);
    assert_ne!(t.asked[3].run, t.asked[0].run);
}

#[test]
fn nothing_is_kept_of_what_is_over() {
    let mut t = Theatre::new(vec![allow()]);
    let proposal = t.up_to_proposal();
    t.say(proposal.id, executed());
    t.pass(5);
    t.say(proposal.id, checked(1, Health::Recovered));
    t.answer(Agent::PostmortemWriter, reported());
    t.tell(&resolved(&opened("a", Severity::Critical, 0), 60));
    t.pass(2 * 24 * 3_600);
    assert_eq!(t.crew.entries(), 1, "the empty queue");
    assert_eq!(t.gate.entries(), 2, "the ledger's head and the budget's usage");
}

#[test]
fn every_touch_of_a_plan_shows() {
    let mut t = Theatre::new(vec![allow()]);
    let incident = t.incident("a", Severity::Critical);
    let mut forged = proposal(incident, 0);
    let mut target = forged.action.workload().unwrap().clone();
    target.name = "database".into();
    forged.action = Action::Restart { target };
    let event = RemediationEvent::new(
        forged.id,
        incident,
        at(0),
        RemediationFact::Proposed {
            proposal: Box::new(forged),
        },
    );
    let rejects = t.gate.refused(&signed_fact(&event));
    assert_eq!(rejects, ["plan_hash"], "it goes to the dead letters");
    assert!(t.fact_names().is_empty());
}

/// Records that somebody wrote who has no key, or copied to where they do not belong.
#[test]
fn what_nobody_of_ours_signed_counts_for_nothing() {
    let mut t = Theatre::new(vec![]);
    let proposal = t.up_to_proposal();
    let grant = Grant::of(
        &proposal,
        Approver::Human { name: "ada".into() },
        at(0),
        proposal.expires_at,
    );
    let facts = [
        RemediationFact::Granted {
            grant: grant.clone(),
            proposal: Box::new(proposal.clone()),
        },
        RemediationFact::Approve {
            by: "human:ada".into(),
            plan_hash: proposal.plan_hash.clone(),
        },
        executed(),
        RemediationFact::Expired,
    ];
    for fact in facts {
        let kind = fact.name();
        let event = RemediationEvent::new(proposal.id, IncidentId::default(), at(1), fact);
        let unsigned = record(serde_json::to_vec(&event).unwrap());
        assert_eq!(t.gate.refused(&unsigned), ["forged"], "{kind} without a signature");
        let shown: Vec<RemediationEvent> = t.gate.said(topics::REMEDIATIONS);
        assert!(
            matches!(&shown[..], [one] if one.id == proposal.id
                && matches!(&one.fact, RemediationFact::Forged { kind: told, .. } if told == kind)),
            "{shown:?}"
        );
        let mut touched = signed_fact(&event);
        touched.key = Some("default/staging".into());
        assert_eq!(t.gate.refused(&touched), ["forged"], "{kind} under another key");
        t.gate.said::<RemediationEvent>(topics::REMEDIATIONS);
    }
    // About a proposal that there is not: a dead letter, and nothing to show it on.
    let event = RemediationEvent::new(
        Uuid::from_u128(99),
        IncidentId::default(),
        at(1),
        RemediationFact::Expired,
    );
    assert_eq!(t.gate.refused(&record(serde_json::to_vec(&event).unwrap())), ["forged"]);
    assert_eq!(t.gate.said::<RemediationEvent>(topics::REMEDIATIONS), []);
    // The real answer still counts.
    t.say(
        proposal.id,
        RemediationFact::Approve {
            by: "human:ada".into(),
            plan_hash: proposal.plan_hash.clone(),
        },
    );
    assert_eq!(t.fact_names(), ["proposed", "decided", "granted"]);
}

#[test]
fn a_copy_in_another_partition_spends_no_second_budget() {
    let policy = Policy::new(vec![allow()]).unwrap();
    let of_eight = Place {
        chain: "remediations-0".into(),
        partitions: 8,
    };
    let home = stream::partition_for(NAMESPACE.as_bytes(), 8);
    assert_ne!(home, 0, "the rig is partition 0");
    let mut gate = Rig::new(move || Gate::new(&GateSettings::default(), policy.clone(), signer(), of_eight.clone()));
    let plan = proposal(IncidentId::default(), 0);
    let proposed = RemediationFact::Proposed {
        proposal: Box::new(plan.clone()),
    };
    let event = RemediationEvent::new(plan.id, plan.incident_id, at(0), proposed);
    assert_eq!(gate.refused(&signed_fact(&event)), ["forged"]);
    assert_eq!(gate.said::<RemediationEvent>(topics::REMEDIATIONS), []);
}

#[test]
fn a_step_that_nobody_of_ours_signed_is_refused() {
    let mut t = Theatre::new(vec![]);
    t.incident("a", Severity::Critical);
    let request = t.asked[0].clone();
    let result = StepResult {
        schema: StepResult::SCHEMA,
        id: request.id,
        run: request.run,
        incident_id: request.evidence.incident.id,
        agent: Agent::Triage,
        status: StepStatus::Success,
        error: String::new(),
        output: triaged(TriageAction::Watch),
        tool_calls: Vec::new(),
        tokens_used: 0,
        duration_ms: 1,
        at: at(0),
    };
    let forged = typed(topics::header::STEP, &StepEvent::Finished(Box::new(result)));
    assert_eq!(t.crew.refused(&forged), ["forged"]);
    t.answer(Agent::Triage, investigate());
    assert_eq!(
        t.agents(),
        ["triage", "log_analyst", "metric_correlator"],
        "the real answer counts"
    );
}
