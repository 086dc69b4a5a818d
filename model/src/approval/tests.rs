use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::policy::Example;
use super::*;
use crate::IncidentId;
use crate::action::{ActionKind, Workload, WorkloadKind};
use crate::proposal::BlastRadius;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn state() -> TargetState {
    TargetState {
        uid: "uid-1".into(),
        generation: 4,
        spec_hash: "abc".into(),
        resource_version: "77".into(),
        replicas: 3,
        ready: 1,
        detail: serde_json::Value::Null,
    }
}

fn proposal() -> Proposal {
    let action = Action::Restart {
        target: Workload {
            cluster: "default".into(),
            namespace: "production".into(),
            kind: WorkloadKind::Deployment,
            name: "api-server".into(),
        },
    };
    Proposal {
        id: Uuid::from_u128(1),
        incident_id: IncidentId::default(),
        tenant: "default".into(),
        environment: "production".into(),
        plan_hash: action.plan_hash(),
        action,
        reason: "memory is exhausted".into(),
        citations: Vec::new(),
        dry_run: String::new(),
        inverse: None,
        blast_radius: BlastRadius { workloads: 1, pods: 3 },
        target: state(),
        proposed_by: "agent:fixer".into(),
        proposed_at: at(0),
        expires_at: at(900),
    }
}

fn human(name: &str) -> Approver {
    Approver::Human { name: name.into() }
}

fn granted() -> Grant {
    Grant::of(&proposal(), human("ada"), at(10), at(600))
}

#[test]
fn a_live_grant_of_the_same_plan_on_the_same_state_is_approved() {
    let approved = approve(&proposal(), &granted(), &state(), false, at(20)).unwrap();
    assert_eq!(approved.action(), &proposal().action);
    assert_eq!(approved.resource_version(), "77");
}

#[test]
fn everything_else_is_not() {
    type Case = (Proposal, Grant, TargetState, bool, DateTime<Utc>);
    let check = |change: fn(&mut Case), expected: fn(&NotApproved) -> bool| {
        let mut case = (proposal(), granted(), state(), false, at(20));
        change(&mut case);
        let (proposal, grant, observed, stopped, now) = case;
        let refused = approve(&proposal, &grant, &observed, stopped, now).unwrap_err();
        assert!(expected(&refused), "{refused}");
    };
    check(|case| case.3 = true, |no| *no == NotApproved::Stopped);
    check(
        |case| case.1.proposal = Uuid::from_u128(2),
        |no| matches!(no, NotApproved::OtherProposal { .. }),
    );
    check(
        |case| {
            let mut target = case.0.action.workload().unwrap().clone();
            target.name = "database".into();
            case.0.action = Action::Restart { target };
        },
        |no| *no == NotApproved::OtherPlan,
    );
    check(|case| case.4 = at(600), |no| matches!(no, NotApproved::Expired { .. }));
    check(|case| case.4 = at(5), |no| matches!(no, NotApproved::NotYet { .. }));
    check(
        |case| case.0.proposed_by = "human:ada".into(),
        |no| matches!(no, NotApproved::OwnProposal { .. }),
    );
    let rule = |case: &mut Case| {
        case.0.proposed_by = "human:eve".into();
        case.1.by = Approver::Rule {
            name: "restarts".into(),
            policy: String::new(),
        };
    };
    check(rule, |no| matches!(no, NotApproved::RuleForAgents { .. }));
    check(
        |case| case.2.uid = "uid-2".into(),
        |no| matches!(no, NotApproved::TargetChanged { .. }),
    );
    check(
        |case| case.2.generation = 5,
        |no| matches!(no, NotApproved::TargetChanged { .. }),
    );
    check(
        |case| case.2.spec_hash = "abd".into(),
        |no| matches!(no, NotApproved::TargetChanged { .. }),
    );
    check(
        |case| case.2.replicas = 30,
        |no| matches!(no, NotApproved::TooWide { .. }),
    );
}

#[test]
fn a_grant_never_outlives_its_proposal() {
    assert_eq!(
        Grant::of(&proposal(), human("ada"), at(10), at(5_000)).expires_at,
        at(900)
    );
}

fn rule(name: &str, effect: Effect) -> Rule {
    Rule {
        name: name.into(),
        effect,
        actions: vec![ActionKind::Restart],
        namespaces: vec!["production".into()],
        workloads: Vec::new(),
        environments: Vec::new(),
        budget: (effect == Effect::Allow).then_some(Budget {
            executions: 2,
            per_seconds: 3_600,
            pods: 5,
        }),
        must_match: Vec::new(),
        must_not_match: Vec::new(),
    }
}

#[test]
fn nothing_is_allowed_unless_a_rule_says_so() {
    let check = |rules: Vec<Rule>, expected: Effect, by: Option<&str>| {
        let decision = Policy::new(rules)
            .unwrap()
            .decide(&proposal(), &Usage::default(), at(0));
        assert_eq!(
            (decision.effect, decision.rule.as_deref()),
            (expected, by),
            "{}",
            decision.why
        );
    };
    let elsewhere = Rule {
        namespaces: vec!["staging".into()],
        ..rule("elsewhere", Effect::Allow)
    };
    check(vec![], Effect::Ask, None);
    check(vec![elsewhere], Effect::Ask, None);
    check(vec![rule("a", Effect::Allow)], Effect::Allow, Some("a"));
    check(
        vec![rule("a", Effect::Allow), rule("b", Effect::Ask)],
        Effect::Ask,
        Some("b"),
    );
    check(
        vec![
            rule("f", Effect::Forbid),
            rule("a", Effect::Allow),
            rule("b", Effect::Ask),
        ],
        Effect::Forbid,
        Some("f"),
    );
}

#[test]
fn a_spent_budget_asks() {
    let policy = Policy::new(vec![rule("a", Effect::Allow)]).unwrap();
    let used = |times: &[i64]| Usage(times.iter().map(|seconds| ("a".to_owned(), at(*seconds))).collect());
    let check = |usage: &Usage, expected| {
        assert_eq!(policy.decide(&proposal(), usage, at(4_000)).effect, expected);
    };
    check(&used(&[3_000]), Effect::Allow);
    check(&used(&[3_000, 3_500]), Effect::Ask);
    // What lies further back than the budget's span does not count.
    check(&used(&[0, 3_500]), Effect::Allow);
    let mut wide = proposal();
    wide.blast_radius.pods = 6;
    assert_eq!(policy.decide(&wide, &Usage::default(), at(0)).effect, Effect::Ask);
}

#[test]
fn a_policy_is_checked_when_it_is_read() {
    let check = |change: fn(&mut Rule), field: &str| {
        let mut one = rule("a", Effect::Allow);
        change(&mut one);
        let faults = Policy::new(vec![one]).unwrap_err();
        assert_eq!(faults.first().map(|fault| fault.field), Some(field), "{faults:?}");
    };
    let example = |namespace: &str| Example {
        action: ActionKind::Restart,
        namespace: namespace.into(),
        workload: String::new(),
        environment: String::new(),
    };
    check(|rule| rule.name.clear(), "name");
    check(|rule| rule.actions.clear(), "actions");
    check(|rule| rule.namespaces = vec!["*".into()], "namespaces");
    check(|rule| rule.budget = None, "budget");
    let mut one = rule("a", Effect::Allow);
    one.must_match = vec![example("staging")];
    assert_eq!(Policy::new(vec![one.clone()]).unwrap_err()[0].field, "must_match");
    one.must_match = vec![example("production")];
    one.must_not_match = vec![example("production")];
    assert_eq!(Policy::new(vec![one.clone()]).unwrap_err()[0].field, "must_not_match");
    one.must_not_match = vec![example("staging")];
    assert!(Policy::new(vec![one]).is_ok());
    assert!(Policy::new(vec![rule("a", Effect::Ask), rule("a", Effect::Ask)]).is_err());
}

#[test]
fn a_later_time_never_undoes_a_refusal() {
    let policy = Policy::new(vec![rule("a", Effect::Forbid)]).unwrap();
    for hours in 0..48 {
        let now = at(0) + TimeDelta::hours(hours);
        assert_eq!(
            policy.decide(&proposal(), &Usage::default(), now).effect,
            Effect::Forbid
        );
    }
}

#[test]
fn only_what_was_granted_is_taken_back() {
    let mut plan = proposal();
    let refused = |plan: &Proposal, observed: &TargetState, stopped| {
        approve_rollback(plan, &granted(), observed, stopped).is_err()
    };
    assert!(refused(&plan, &state(), false), "it has no inverse");
    let target = plan.action.workload().unwrap().clone();
    plan.inverse = Some(Action::Rollback {
        target: target.clone(),
        to_revision: Some(3),
    });
    // The plan itself changed the spec: that does not stand in the way.
    let edited = TargetState {
        generation: 5,
        spec_hash: "other".into(),
        ..state()
    };
    let approved = approve_rollback(&plan, &granted(), &edited, false).unwrap();
    assert_eq!(Some(approved.action()), plan.inverse.as_ref());
    assert!(refused(&plan, &edited, true));
    let another = TargetState {
        uid: "uid-2".into(),
        ..state()
    };
    assert!(refused(&plan, &another, false));
    let mut elsewhere = plan.clone();
    elsewhere.inverse = Some(Action::Restart {
        target: Workload {
            name: "database".into(),
            ..target
        },
    });
    assert!(refused(&elsewhere, &state(), false));
}

#[test]
fn a_rule_allows_agents_alone_and_forbids_everybody() {
    let check = |effect: Effect, proposed_by: &str, expected: Effect| {
        let policy = Policy::new(vec![rule("a", effect)]).unwrap();
        let proposal = Proposal {
            proposed_by: proposed_by.into(),
            ..proposal()
        };
        let decision = policy.decide(&proposal, &Usage::default(), at(0));
        assert_eq!(decision.effect, expected, "{}", decision.why);
    };
    check(Effect::Allow, "agent:fixer", Effect::Allow);
    for stranger in ["human:ada", "human:agent:fixer", "", "agent"] {
        check(Effect::Allow, stranger, Effect::Ask);
        check(Effect::Forbid, stranger, Effect::Forbid);
    }
}
