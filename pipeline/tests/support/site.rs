//! A running `aegis` beside a cluster that is a stand-in: it speaks the API server's HTTP and keeps state. Nothing is told to the agents but
//! by the doors that everybody uses.
#![allow(dead_code)] // Each test binary uses its own part.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use world::{Running, Scenario, System, World};

use super::{Aegis, http, wait_for};

const JSON: &str = "Content-Type: application/json\r\n";
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A rule that lets the agents restart what runs in production.
pub const ALLOW: &str = r#"
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
pub struct Site {
    pub aegis: Aegis,
    pub world: World,
    /// Where the stand-in listens.
    pub url: String,
    /// When the alert began.
    pub began: chrono::DateTime<chrono::Utc>,
    /// Holds the stand-in's port, and the threads that serve it.
    _serving: (tokio::runtime::Runtime, Running),
    _folder: tempfile::TempDir,
}

impl Site {
    pub fn new(policy: &str, change: impl FnOnce(&mut Scenario)) -> Self {
        let mut site = Site::prepared(policy, |_| String::new(), change);
        site.aegis.start();
        site
    }

    /// Not started yet. `extra`: more of `aegis.toml`, given the URL of the stand-in.
    pub fn prepared(policy: &str, extra: impl FnOnce(&str) -> String, change: impl FnOnce(&mut Scenario)) -> Self {
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
        let url = running.url();
        let settings = format!("{}{}", settings(&url, &policy_file), extra(&url));
        Site {
            aegis: Aegis::new(folder.path(), &settings),
            world,
            url,
            began: chrono::Utc::now(),
            _serving: (runtime, running),
            _folder: folder,
        }
    }

    pub fn post(&self, path: &str, body: &Value) {
        let (status, answer) = http(self.aegis.dispatcher, "POST", path, JSON, &body.to_string()).expect("an answer");
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
    }

    /// The heap is exhausted, in the words of the process.
    pub fn log_oom(&self) {
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

    pub fn alert(&self) {
        self.post("/webhooks/alertmanager", &self.firing());
    }

    /// Whether the alert was taken; it may be sent again.
    pub fn try_alert(&self) -> bool {
        let alert = self.firing().to_string();
        let answer = http(self.aegis.dispatcher, "POST", "/webhooks/alertmanager", JSON, &alert);
        answer.is_some_and(|(status, _)| (200..300).contains(&status))
    }

    /// The alert as Alertmanager sends it.
    pub fn firing(&self) -> Value {
        let labels = json!({"alertname": "High Memory Usage", "service": "api-server", "namespace": "production",
            "env": "production", "severity": "critical"});
        json!({"version": "4", "groupKey": "k", "status": "firing", "receiver": "r", "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "http://a", "alerts": [{"status": "firing", "labels": labels,
            "annotations": {"summary": "High Memory Usage on api-server (95%)"}, "startsAt": self.began.to_rfc3339(),
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "00000000000000aa"}]})
    }

    /// Calls that restarted something: patches but for the API server's own dry runs.
    pub fn restarts(&self) -> usize {
        let state = self.world.state();
        let patches = state
            .requests
            .iter()
            .filter(|seen| seen.system == System::Kubernetes && seen.method == "PATCH");
        patches.filter(|seen| !seen.uri.contains("dryRun")).count()
    }

    /// The only remediation, once it has that status.
    pub fn remediation(&self, status: &str) -> Value {
        wait_for(&format!("a remediation that is {status}"), PATIENCE, || {
            let rows = self
                .aegis
                .sql("select id, status, action_type, target, namespace, decided_by, note from remediations");
            assert!(rows.len() <= 1, "{rows:?}");
            rows.into_iter().find(|row| row["status"] == status)
        })
    }

    pub fn incident(&self, what: &str, found: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, PATIENCE, || {
            let query = "select id, status, resolved_by, root_cause, resolution from incidents where service = 'api-server' \
                         and merged_into is null";
            self.aegis.sql(query).into_iter().find(|row| found(row))
        })
    }

    /// Patches that changed something.
    pub fn patches(&self) -> usize {
        self.world.count(System::Kubernetes, "PATCH")
    }

    pub fn books_balance(&self) {
        let (code, out, err) = self.aegis.run(&["ledger", "verify"]);
        assert_eq!(code, 0, "{out}{err}");
        let (code, out, err) = self.aegis.run(&["audit", "conservation"]);
        assert_eq!(code, 0, "{out}{err}");
    }
}

pub fn nanos() -> u128 {
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
