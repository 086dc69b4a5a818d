//! GitHub's events: its own examples, and what must not be believed.

use std::collections::{BTreeMap, BTreeSet};

use model::{Severity, SignalKind, SignalState};
use operators::normalize::NormalizeSettings;
use serde_json::{Value, json};

use crate::support::{Outcome, at, run, run_with};

const EVENT: &str = "http-x-github-event";

fn event(name: &str, body: &Value) -> Outcome {
    let headers = [("aegis-sender", "github"), (EVENT, name)];
    run_with(NormalizeSettings::default(), body.to_string(), &headers)
}

fn repository() -> Value {
    json!({"id": 7, "name": "cart", "full_name": "shop/cart", "default_branch": "main", "stargazers_count": 3,
           "pushed_at": 1_795_423_700})
}

fn deployment_status(state: &str) -> Value {
    json!({
        "action": "created", "repository": repository(), "sender": {"login": "kim", "avatar_url": "https://a/"},
        "deployment": {"id": 11, "sha": "0123456789abcdef", "ref": "main", "environment": "production", "created_at": "2026-11-23T08:40:00Z"},
        "deployment_status": {"id": 12, "state": state, "environment": "production", "created_at": "2026-11-23T08:41:00Z"},
    })
}

fn scanned(state: &str, more: Value) -> Value {
    let mut alert = json!({
        "number": 4, "created_at": "2026-11-20T10:00:00Z", "state": state, "tool": {"name": "CodeQL"},
        "rule": {"id": "js/xss", "severity": "error", "security_severity_level": "high", "description": "Cross-site scripting"},
    });
    alert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"action": "created", "alert": alert, "ref": "refs/heads/main", "commit_oid": "abc", "repository": repository(),
           "sender": {"login": "kim"}})
}

#[test]
fn a_deployment_that_came_to_an_end_is_a_change_of_the_service() {
    let one = event("deployment_status", &deployment_status("success")).one();
    assert_eq!(
        (one.kind, one.state, one.severity, &*one.dedup_key),
        (
            SignalKind::Change,
            SignalState::Event,
            Severity::Info,
            "gh:shop/cart:deployment_status:11:12"
        )
    );
    assert_eq!(one.title, "Deployment of main (0123456) to production: success");
    assert_eq!(
        (one.service.as_deref(), &*one.environment, one.event_at),
        (Some("cart"), "production", at("2026-11-23T08:41:00Z"))
    );
    let labels: Value = serde_json::from_str(&one.labels).unwrap();
    assert_eq!(labels["commit"], "0123456789abcdef", "{labels}");
    assert_eq!(labels["actor"], "kim", "{labels}");
    let extra: Value = serde_json::from_str(one.extra.as_deref().unwrap()).unwrap();
    assert_eq!(extra["deployment_status"]["id"], 12);
    assert_eq!(extra["sender"], json!({"login": "kim"}), "names only");

    assert_eq!(
        event("deployment_status", &deployment_status("in_progress")).one().kind,
        SignalKind::Alert
    );
    let failed = event("deployment_status", &deployment_status("failure")).one();
    assert_eq!((failed.kind, failed.severity), (SignalKind::Change, Severity::Warning));

    let mut created = deployment_status("x");
    created.as_object_mut().unwrap().remove("deployment_status");
    let created = event("deployment", &created).one();
    assert_eq!(
        (created.kind, &*created.dedup_key),
        (SignalKind::Change, "gh:shop/cart:deployment:11")
    );
}

#[test]
fn a_weakness_fires_until_it_is_fixed() {
    let firing = event("code_scanning_alert", &scanned("open", json!({}))).one();
    assert_eq!(
        (firing.kind, firing.state, firing.severity, &*firing.dedup_key),
        (
            SignalKind::Security,
            SignalState::Firing,
            Severity::Critical,
            "gh:shop/cart:code_scanning_alert:4"
        )
    );
    let fixed = scanned("fixed", json!({"fixed_at": "2026-11-21T10:00:00Z"}));
    let fixed = event("code_scanning_alert", &fixed).one();
    assert_eq!(
        (fixed.state, &fixed.dedup_key),
        (SignalState::Resolved, &firing.dedup_key)
    );
    assert_eq!(fixed.event_at, firing.event_at, "it ends what began");
    assert_eq!(fixed.ends_at.unwrap(), at("2026-11-21T10:00:00Z"));
}

#[test]
fn a_failed_run_on_the_default_branch_stands_out_and_updates_its_story() {
    let run = |status: &str, conclusion: Value, branch: &str| {
        event(
            "workflow_run",
            &json!({"action": "completed", "repository": repository(), "sender": {"login": "kim"}, "workflow_run": {
                "id": 5, "run_attempt": 2, "name": "CI", "head_branch": branch, "head_sha": "fe", "status": status,
                "conclusion": conclusion, "run_started_at": "2026-11-23T08:00:00Z"}}),
        )
        .one()
    };
    let (begun, failed) = (
        run("in_progress", Value::Null, "main"),
        run("completed", "failure".into(), "main"),
    );
    assert_eq!((begun.severity, failed.severity), (Severity::Info, Severity::Warning));
    assert_eq!((&begun.dedup_key, begun.event_at), (&failed.dedup_key, failed.event_at));
    assert_ne!(begun.digest, failed.digest);
    assert_eq!(failed.title, "Workflow CI on main: failure");
    assert_eq!(run("completed", "failure".into(), "topic").severity, Severity::Info);
}

/// The header is not signed: a captured body, sent with another one, says the same or nothing.
#[test]
fn the_body_says_what_it_is() {
    let body = deployment_status("success");
    let honest = event("deployment_status", &body).one();
    for other in ["push", "deployment", "ping", "code_scanning_alert"] {
        let outcome = event(other, &body);
        assert_eq!(outcome.faults(), [("bad_value", None)], "{other}");
        assert!(
            outcome.rejects[0].detail.contains("deployment_status"),
            "{:?}",
            outcome.rejects
        );
    }
    for unknown in ["brand_new_event", ""] {
        let one = event(unknown, &body).one();
        assert_eq!((one.id, one.digest), (honest.id, honest.digest), "{unknown}");
    }
    // Also without any header: from Kafka.
    assert_eq!(run(body.to_string()).one().id, honest.id);

    // Of an event that nobody knows, another name is no news.
    let star = json!({"action": "created", "starred_at": null, "repository": repository(), "sender": {"login": "kim"}});
    let (a, b) = (event("star", &star).one(), event("watch", &star).one());
    assert_eq!(
        (a.digest, &a.dedup_key, a.severity),
        (b.digest, &b.dedup_key, Severity::Info)
    );
}

#[test]
fn faults_name_the_field() {
    let check = |name: &str, change: &dyn Fn(&mut Value), reason: &str, field: &str| {
        let mut body = deployment_status("success");
        change(&mut body);
        assert_eq!(event(name, &body).faults(), [(reason, Some(field))]);
    };
    check(
        "deployment_status",
        &|body| body["deployment_status"]["created_at"] = "yesterday".into(),
        "bad_time",
        "/deployment_status/created_at",
    );
    check(
        "deployment_status",
        &|body| body["deployment"]["id"] = Value::Null,
        "missing_field",
        "/deployment/id",
    );
    let outcome = run_with(NormalizeSettings::default(), "[]", &[("aegis-sender", "github")]);
    assert_eq!(outcome.faults(), [("wrong_type", None)]);
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(
        run_with(NormalizeSettings::default(), deep, &[("aegis-sender", "github")])
            .signals
            .len(),
        0
    );
}

/// All payloads that GitHub publishes as examples. What becomes of each kind of event is written down here, so a change of it shows.
#[test]
fn githubs_own_examples() {
    let Ok(file) = std::env::var("AEGIS_TEST_GITHUB_EXAMPLES") else {
        assert!(
            std::env::var("AEGIS_TEST_REQUIRE").is_err(),
            "AEGIS_TEST_GITHUB_EXAMPLES is not set: scripts/services/samples.sh"
        );
        eprintln!("not run: AEGIS_TEST_GITHUB_EXAMPLES is not set");
        return;
    };
    let events: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut examples = 0;
    for described in &events {
        let name = described["name"].as_str().unwrap();
        for example in described["examples"].as_array().unwrap() {
            let outcome = event(name, example);
            assert_eq!(outcome.rejects, [], "{name}, action {}", example["action"]);
            let one = outcome.one();
            examples += 1;
            let labels: Value = serde_json::from_str(&one.labels).unwrap();
            let understood = labels["event"].as_str().unwrap();
            if understood != "other" {
                assert_eq!(understood, name, "action {}", example["action"]);
                let what = format!("{} {}", one.kind.as_str(), one.state.as_str());
                known.entry(name.to_owned()).or_default().insert(what);
            }
            // The same bytes are the same statement.
            assert_eq!(event(name, example).one().id, one.id);
        }
    }
    assert_eq!((events.len(), examples), (58, 329));
    let found: Vec<(String, String)> = known
        .into_iter()
        .map(|(name, what)| (name, what.into_iter().collect::<Vec<_>>().join(", ")))
        .collect();
    let wanted = [
        ("check_run", "alert event"),
        ("check_suite", "alert event"),
        ("code_scanning_alert", "security firing, security resolved"),
        ("dependabot_alert", "security firing, security resolved"),
        ("deployment", "change event"),
        ("deployment_status", "alert event, change event"),
        ("ping", "alert event"),
        ("pull_request", "alert event"),
        ("push", "alert event"),
        ("release", "alert event, change event"),
        ("repository_vulnerability_alert", "security firing, security resolved"),
        ("security_advisory", "security event"),
        ("workflow_job", "alert event"),
        ("workflow_run", "alert event"),
    ];
    let found: Vec<(&str, &str)> = found.iter().map(|(name, what)| (&**name, &**what)).collect();
    assert_eq!(found, wanted);
}
