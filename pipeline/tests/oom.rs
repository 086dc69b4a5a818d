//! One incident, from detection to postmortem, through the real program: an alert about memory, log lines of an exhausted heap, a cluster
//! whose pods were killed for it (a stand-in that speaks the API server's HTTP and keeps state). Nothing is told to the agents but by the
//! doors that everybody uses.

mod support;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Aegis, http, wait_for};
use world::{Running, Scenario, System, World};

const JSON: &str = "Content-Type: application/json\r\n";
const PATIENCE: Duration = Duration::from_secs(120);

const ALLOW: &str = r#"
[[rule]]
name = "restarts-in-production"
effect = "allow"
actions = ["restart"]
namespaces = ["production"]
budget = { executions = 3, per_seconds = 3600, pods = 10 }
must_match = [{ action = "restart", namespace = "production" }]
must_not_match = [{ action = "restart", namespace = "staging" }]
"#;

/// A running Aegis beside a cluster.
struct Site {
    aegis: Aegis,
    world: World,
    /// Holds the stand-in's port, and the threads that serve it.
    _serving: (tokio::runtime::Runtime, Running),
    _folder: tempfile::TempDir,
}

impl Site {
    fn new(policy: &str, change: impl FnOnce(&mut Scenario)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut scenario = Scenario {
            replace_every_ms: 50,
            ready_after_ms: 200,
            ..Scenario::default()
        };
        change(&mut scenario);
        let world = World::new(scenario);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let running = runtime.block_on(world.start("127.0.0.1:0".parse().unwrap())).unwrap();
        let policy_file = folder.path().join("policy.toml");
        std::fs::write(&policy_file, policy).unwrap();
        let mut aegis = Aegis::new(folder.path(), &settings(&running.url(), &policy_file));
        aegis.start();
        Site {
            aegis,
            world,
            _serving: (runtime, running),
            _folder: folder,
        }
    }

    fn post(&self, path: &str, body: &Value) {
        let (status, answer) = http(self.aegis.dispatcher, "POST", path, JSON, &body.to_string()).expect("an answer");
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }

    /// The heap is exhausted, in the words of the process.
    fn log_oom(&self) {
        let line = |n: u32| {
            json!([
                nanos().to_string(),
                format!("ERROR request {n}: java.lang.OutOfMemoryError: Java heap space")
            ])
        };
        let values: Vec<Value> = (0..12).map(line).collect();
        let labels = json!({"app": "api-server", "namespace": "production", "env": "production"});
        self.post(
            "/loki/api/v1/push",
            &json!({"streams": [{"stream": labels, "values": values}]}),
        );
    }

    fn alert(&self) {
        let labels = json!({"alertname": "High Memory Usage", "service": "api-server", "namespace": "production",
            "env": "production", "severity": "critical"});
        self.post(
            "/webhooks/alertmanager",
            &json!({"version": "4", "groupKey": "k", "status": "firing", "receiver": "r", "groupLabels": {}, "commonLabels": {},
                "commonAnnotations": {}, "externalURL": "http://a", "alerts": [{"status": "firing", "labels": labels,
                "annotations": {"summary": "High Memory Usage on api-server (95%)"}, "startsAt": chrono::Utc::now().to_rfc3339(),
                "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "00000000000000aa"}]}),
        );
    }

    /// The only remediation, once it has that status.
    fn remediation(&self, status: &str) -> Value {
        wait_for(&format!("a remediation that is {status}"), PATIENCE, || {
            let rows = self
                .aegis
                .sql("select id, status, action_type, target, namespace, decided_by, note from remediations");
            assert!(rows.len() <= 1, "{rows:?}");
            rows.into_iter().find(|row| row["status"] == status)
        })
    }

    fn incident(&self, what: &str, found: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, PATIENCE, || {
            let query = "select id, status, resolved_by, root_cause, resolution from incidents where service = 'api-server' \
                         and merged_into is null";
            self.aegis.sql(query).into_iter().find(|row| found(row))
        })
    }

    /// Patches that changed something.
    fn patches(&self) -> usize {
        self.world.count(System::Kubernetes, "PATCH")
    }

    fn books_balance(&self) {
        let (code, out, err) = self.aegis.run(&["ledger", "verify"]);
        assert_eq!(code, 0, "{out}{err}");
        let (code, out, err) = self.aegis.run(&["audit", "conservation"]);
        assert_eq!(code, 0, "{out}{err}");
    }
}

fn nanos() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_nanos()
}

fn settings(cluster: &str, policy: &Path) -> String {
    let policy = policy.display();
    format!(
        "[tools.kubernetes]\nurl = \"{cluster}\"\n[policy]\nfile = \"{policy}\"\n[gate]\ncheck_every = \"1s\"\n\
         [progress]\nlateness = \"1s\"\n"
    )
}

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
