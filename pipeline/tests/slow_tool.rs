//! Prometheus hangs for one incident: the other one is investigated, fixed and resolved meanwhile.

mod support;

use serde_json::json;
use support::site::{ALLOW, PATIENCE, Site};
use support::wait_for;
use world::{Fault, FaultKind, System};

/// Far longer than the other incident takes, so that its end comes first or never.
const HANGS: &str = "[tools.prometheus]\nurl = \"URL/prometheus\"\ntimeout_s = 100\n[agents]\ncall_timeout = \"90s\"\nstep_timeout = \"95s\"\n\
     [crew]\nstep_deadline = \"100s\"\n";

#[test]
fn one_hanging_question_holds_no_other_incident() {
    let mut site = Site::prepared(ALLOW, |url| HANGS.replace("URL", url), |_| {});
    let hang = Fault::new(System::Prometheus, FaultKind::Hang);
    site.world.fail(Fault {
        path: Some("checkout".into()),
        ..hang
    });
    site.aegis.start();
    site.log_oom();
    let labels = json!({"alertname": "High Memory Usage", "service": "checkout", "namespace": "production", "env": "canteen",
        "severity": "critical"});
    site.post(
        "/webhooks/alertmanager",
        &json!({"version": "4", "groupKey": "c", "status": "firing", "receiver": "r", "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "http://a", "alerts": [{"status": "firing", "labels": labels,
            "annotations": {}, "startsAt": site.began.to_rfc3339(), "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "",
            "fingerprint": "00000000000000cc"}]}),
    );
    let asked = "select a.agent_name, a.status from agent_executions a join incidents i on i.id = a.incident_id \
                 where i.service = 'checkout'";
    wait_for("the question that hangs", PATIENCE, || {
        let seen = site.world.state().requests.clone();
        let hangs = |uri: &str| uri.contains("/prometheus/") && uri.contains("checkout");
        seen.iter().any(|seen| hangs(&seen.uri)).then_some(())
    });
    // It begins behind the one that hangs, in the same worker.
    site.alert();
    site.remediation("verified");
    site.incident("the other incident resolved by the agent", |row| {
        row["resolved_by"] == "agent"
    });
    let steps = site.aegis.sql(asked);
    assert_eq!(
        steps,
        [json!({"agent_name": "triage", "status": "running"})],
        "still hanging"
    );
}
