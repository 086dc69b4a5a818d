//! Socket.IO with the library that browsers use: nothing missed and nothing doubled, whoever is cut off or dies.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use support::alerts::alert;
use support::{Aegis, http, required, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// A Node process with `socket.io-client`.
struct Client {
    child: Child,
    words: Option<ChildStdin>,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Client {
    fn start(modules: &str, port: u16, namespace: &str, token: Option<&str>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/client.mjs");
        let mut command = Command::new("node");
        command
            .arg(script)
            .args([modules, &format!("http://127.0.0.1:{port}"), namespace]);
        command.args(token).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node starts");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (lines, into) = (BufReader::new(child.stdout.take().unwrap()).lines(), heard.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let said = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                into.lock().unwrap().push(said);
            }
        });
        let words = child.stdin.take();
        Client { child, words, heard }
    }

    fn tell(&mut self, word: &str) {
        let words = self.words.as_mut().unwrap();
        writeln!(words, "{word}").expect("the client listens");
    }

    /// Everything of one kind so far.
    fn heard(&self, kind: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter_map(|said| said.get(kind)).cloned().collect()
    }

    fn first(&self, kind: &str) -> Value {
        wait_for(&format!("a {kind}"), PATIENCE, || self.heard(kind).into_iter().next())
    }

    /// (incident, revision) of every fact it was told, in order.
    fn facts(&self) -> Vec<(String, u64)> {
        let deltas = self.heard("delta");
        deltas
            .iter()
            .map(|delta| {
                let incident = &delta["data"]["incident"];
                (
                    incident["id"].as_str().unwrap().to_owned(),
                    incident["revision"].as_u64().unwrap(),
                )
            })
            .collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn modules() -> Option<String> {
    required("AEGIS_TEST_WEB_MODULES")
}

fn send(aegis: &Aegis, number: usize) {
    let json = "Content-Type: application/json\r\n";
    // Whoever dies is sent it again, as a sender does.
    wait_for("an answer of the dispatcher", PATIENCE, || {
        let answer = http(aegis.dispatcher, "POST", "/webhooks/alertmanager", json, &alert(number));
        answer.filter(|(status, _)| *status == 202).map(|_| ())
    });
}

/// (incident, revision) of every fact in the tables.
fn told(aegis: &Aegis) -> BTreeSet<(String, u64)> {
    let rows = aegis.sql("select incident_id, revision from incident_events");
    let fact = |row: &Value| {
        let id = row["incident_id"].as_str().unwrap().to_owned();
        (id, row["revision"].as_u64().unwrap())
    };
    rows.iter().map(fact).collect()
}

#[test]
fn nothing_is_missed_and_nothing_doubled_across_cuts_and_deaths() {
    let Some(modules) = modules() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "[topics]\npartitions = 2\n");
    aegis.start();
    let mut cut = Client::start(&modules, aegis.dispatcher, "/incidents", None);
    let calm = Client::start(&modules, aegis.dashboard, "/incidents", None);
    for client in [&cut, &calm] {
        let first = client.first("snapshot");
        assert_eq!(first["incidents"], serde_json::json!([]), "{first}");
    }
    cut.tell("cuts 150");
    for number in 0..120 {
        send(&aegis, number);
        // Long enough for many cuts.
        std::thread::sleep(Duration::from_millis(25));
        if number == 40 || number == 80 {
            aegis.kill();
            aegis.start();
        }
    }
    cut.tell("calm");
    let all = wait_for("every incident in the tables", PATIENCE, || {
        let all = told(&aegis);
        (all.iter().filter(|(_, revision)| *revision == 1).count() == 120).then_some(all)
    });
    for client in [&cut, &calm] {
        wait_for("every fact at the client", PATIENCE, || {
            (client.facts().len() >= all.len()).then_some(())
        });
    }
    // A doubled one would come now.
    std::thread::sleep(Duration::from_secs(1));
    let all = told(&aegis);
    for client in [&cut, &calm] {
        let facts = client.facts();
        assert_eq!(facts.iter().cloned().collect::<BTreeSet<_>>(), all);
        assert_eq!(facts.len(), all.len(), "something was told twice");
        // Each partition in its order.
        let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
        for delta in client.heard("delta") {
            let (partition, offset) = (delta["partition"].as_u64().unwrap(), delta["offset"].as_u64().unwrap());
            let before = ends.insert(partition, offset);
            assert!(
                before.is_none_or(|before| before < offset),
                "{partition}: {before:?}, {offset}"
            );
        }
        assert_eq!(client.heard("snapshot").len(), 1, "it began anew");
    }
    assert!(cut.heard("disconnected").len() > 5, "it was hardly cut");
    // Whoever comes now begins with what there is.
    let late = Client::start(&modules, aegis.dashboard, "/incidents", None);
    let first = late.first("snapshot");
    assert_eq!(first["incidents"].as_array().unwrap().len(), 120);
    assert_eq!(first["more"], false);
}

#[test]
fn who_may_not_read_hears_nothing() {
    let Some(modules) = modules() else { return };
    let folder = tempfile::tempdir().unwrap();
    let tokens = "[gateway.tokens.rosa]\ntoken = \"token-of-rosa\"\nrole = \"viewer\"\n";
    let mut aegis = Aegis::new(folder.path(), tokens);
    aegis.start();
    for (token, namespace) in [(None, "/incidents"), (Some("token-of-eve"), "/agents")] {
        let stranger = Client::start(&modules, aegis.dispatcher, namespace, token);
        assert_eq!(stranger.first("refused"), "unauthorized");
        assert!(stranger.heard("snapshot").is_empty());
    }
    for namespace in ["/incidents", "/agents", "/remediations", "/pipeline"] {
        let rosa = Client::start(&modules, aegis.dashboard, namespace, Some("token-of-rosa"));
        let first = rosa.first("snapshot");
        assert!(first["cursor"].is_string(), "{namespace} {first}");
    }
    let other = Client::start(&modules, aegis.dashboard, "/secrets", Some("token-of-rosa"));
    assert!(other.first("refused").as_str().unwrap().contains("namespace"));
    assert!(aegis.metric("aegis_live_refused_total") >= 2.0);
}

#[test]
fn the_pipeline_tells_of_itself() {
    let Some(modules) = modules() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    aegis.start();
    let client = Client::start(&modules, aegis.dashboard, "/pipeline", None);
    let first = client.first("snapshot");
    let stages: Vec<&str> = first["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["stage"].as_str().unwrap())
        .collect();
    assert_eq!(
        stages,
        ["normalize", "templates", "dedupe", "correlate", "crew", "gate"]
    );
    (0..5).for_each(|number| send(&aegis, number));
    let data = wait_for("five alerts through dedupe", PATIENCE, || {
        let last = client.heard("delta").into_iter().next_back()?;
        let dedupe = &last["data"]["stages"][2];
        (dedupe["counts"]["items_in"] == 5).then(|| last["data"].clone())
    });
    assert!(
        data["stages"]
            .as_array()
            .unwrap()
            .iter()
            .all(|stage| stage["balanced"] == true),
        "{data}"
    );
    let sender = wait_for("the sender", PATIENCE, || {
        let last = client.heard("delta").into_iter().next_back()?;
        last["data"]["senders"]
            .as_array()?
            .iter()
            .find(|one| one["sender"] == "alertmanager")
            .cloned()
    });
    assert_eq!(
        (sender["requests"].as_u64(), sender["refused"].as_u64()),
        (Some(5), Some(0))
    );
    assert!(sender["last_at"].is_string());
}

#[test]
fn who_reads_nothing_is_dropped_and_holds_up_nobody() {
    let Some(modules) = modules() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    aegis.start();
    let mut stuck = Client::start(&modules, aegis.dispatcher, "/incidents", None);
    let calm = Client::start(&modules, aegis.dispatcher, "/incidents", None);
    stuck.first("snapshot");
    calm.first("snapshot");
    // Once it is no longer polling.
    std::thread::sleep(Duration::from_secs(1));
    stuck.tell("stall");
    // Many times what a connection's buffers take.
    let firing = |number: usize| {
        let text = "x".repeat(2_000);
        serde_json::json!({
            "status": "firing", "labels": {"alertname": format!("A{number}"), "service": format!("s{number}"), "severity": "warning"},
            "annotations": {"summary": text}, "startsAt": "2026-11-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": format!("{number:016x}"),
        })
    };
    for batch in 0..100 {
        let alerts: Vec<Value> = (batch * 50..(batch + 1) * 50).map(firing).collect();
        let body =
            serde_json::json!({"version": "4", "groupKey": "k", "status": "firing", "receiver": "r", "alerts": alerts});
        let json = "Content-Type: application/json\r\n";
        let (status, said) = http(
            aegis.dispatcher,
            "POST",
            "/webhooks/alertmanager",
            json,
            &body.to_string(),
        )
        .unwrap();
        assert_eq!(status, 202, "{said}");
    }
    wait_for("everything at who reads", PATIENCE, || {
        (calm.facts().len() >= 5_000).then_some(())
    });
    wait_for("the other to be dropped", PATIENCE, || {
        (aegis.metric("aegis_live_dropped_total{reason=\"slow\"}") >= 1.0).then_some(())
    });
    assert!(stuck.facts().len() < 5_000, "it was not stuck");
}
