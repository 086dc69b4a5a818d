//! One incident, from detection to postmortem, through the real program: an alert about memory, log lines of an exhausted heap, a cluster
//! whose pods were killed for it (a stand-in that speaks the API server's HTTP and keeps state). Nothing is told to the agents but by the
//! doors that everybody uses.

mod support;

use serde_json::{Value, json};
use support::site::{ALLOW, PATIENCE, Site, nanos};
use support::wait_for;

#[test]
fn memory_runs_out_and_a_rule_lets_the_agent_restart_it() {
    let site = Site::new(ALLOW, |_| {});
    site.log_oom();
    site.alert();
    let remediation = site.remediation("verified");
    assert_eq!(
        [
            &remediation["action_type"],
            &remediation["target"],
            &remediation["namespace"]
        ],
        ["restart", "deployment/api-server", "production"]
    );
    assert_eq!(remediation["decided_by"], "rule:restarts-in-production");
    let incident = site.incident("the incident resolved by the agent", |row| row["status"] == "resolved");
    assert_eq!(incident["resolved_by"], "agent");
    assert!(
        incident["root_cause"].as_str().is_some_and(|cause| !cause.is_empty()),
        "{incident}"
    );
    let steps = site
        .aegis
        .sql("select agent_name, status from agent_executions group by 1, 2 order by 1");
    let steps: Vec<&str> = steps.iter().filter_map(|row| row["agent_name"].as_str()).collect();
    assert_eq!(
        steps,
        [
            "fixer",
            "log_analyst",
            "metric_correlator",
            "postmortem_writer",
            "triage"
        ]
    );
    let facts = site.aegis.sql("select distinct fact from incident_events order by 1");
    let facts: Vec<&str> = facts.iter().filter_map(|row| row["fact"].as_str()).collect();
    for fact in ["acknowledged", "finding_added", "postmortem_added", "closed"] {
        assert!(facts.contains(&fact), "{facts:?}");
    }
    site.books_balance();
}

#[test]
fn without_a_rule_a_human_is_asked_and_nothing_happens_before_the_yes() {
    let site = Site::new("", |_| {});
    site.log_oom();
    site.alert();
    let waiting = site.remediation("waiting");
    let before = site.patches();
    let id = waiting["id"].as_str().unwrap();
    let (code, out, err) = site.aegis.run(&["remediation", "show", id]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("restart deployment/api-server in production"), "{out}");
    assert_eq!(site.patches(), before, "looking changes nothing");
    let (code, _, err) = site.aegis.run(&["approve", id, "--yes"]);
    assert_eq!(code, 0, "{err}");
    let verified = site.remediation("verified");
    assert!(
        verified["decided_by"].as_str().unwrap().starts_with("human:"),
        "{verified}"
    );
    assert_eq!(site.patches(), before + 1, "carried out once");
    // A second yes is too late.
    assert_ne!(site.aegis.run(&["approve", id, "--yes"]).0, 0);
    site.books_balance();
}

#[test]
fn another_cause_leads_to_no_restart() {
    // Nothing was killed, nothing is exhausted: an error of another kind.
    let site = Site::new(ALLOW, |scenario| {
        scenario
            .workloads
            .iter_mut()
            .for_each(|workload| workload.leaks = false);
    });
    let line = json!([nanos().to_string(), "ERROR connection to database refused"]);
    let labels = json!({"app": "api-server", "namespace": "production", "env": "production"});
    site.post(
        "/loki/api/v1/push",
        &json!({"streams": [{"stream": labels, "values": [line]}]}),
    );
    site.alert();
    let fixer = wait_for("the fixer's answer", PATIENCE, || {
        let rows = site
            .aegis
            .sql("select status, output_data from agent_executions where agent_name = 'fixer' and status <> 'running'");
        rows.into_iter().next()
    });
    assert_eq!(fixer["status"], "success", "{fixer}");
    assert_eq!(site.aegis.sql("select id from remediations"), Vec::<Value>::new());
    assert_eq!(site.patches(), 0);
    let incident = site.incident("the incident under investigation", |row| {
        row["status"] == "investigating"
    });
    assert_eq!(incident["resolved_by"], Value::Null);
}

#[test]
fn the_stop_switch_holds_what_was_allowed() {
    let site = Site::new(ALLOW, |_| {});
    assert_eq!(site.aegis.run(&["remediation", "stop"]).0, 0);
    site.log_oom();
    site.alert();
    let failed = site.remediation("failed");
    assert!(failed["note"].as_str().unwrap().contains("stop switch"), "{failed}");
    site.books_balance();
}
