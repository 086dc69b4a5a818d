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
use support::server::Server;
use support::{Aegis, database, http, required, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
/// Any incident's name will do to look at it.
const INCIDENT: &str = "0198f0c2-7a55-5b5e-9a55-3f1d5a0a6e11";
const ANN_AND_BOB: &str = "[gateway.tokens.ann]\ntoken = \"token-of-ann\"\nrole = \"viewer\"\n\
                           [gateway.tokens.bob]\ntoken = \"token-of-bob\"\nrole = \"viewer\"\n";

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

    /// Who looks at [`INCIDENT`], as it heard last; nobody while it looks at another.
    fn looking(&self) -> Vec<String> {
        let heard = self.heard("looking").into_iter().next_back();
        let Some(last) = heard.filter(|last| last["incident"] == INCIDENT) else {
            return Vec::new();
        };
        let names = last["names"].as_array().unwrap();
        names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    fn sees(&self, names: &[&str]) {
        wait_for(&format!("{names:?}"), PATIENCE, || {
            (self.looking() == names).then_some(())
        });
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

/// Both connected, neither looking.
fn ann_and_bob(modules: &str, anns: &Aegis, bobs: &Aegis) -> (Client, Client) {
    let ann = Client::start(modules, anns.dispatcher, "/incidents", Some("token-of-ann"));
    let bob = Client::start(modules, bobs.dashboard, "/incidents", Some("token-of-bob"));
    for client in [&ann, &bob] {
        client.first("snapshot");
    }
    (ann, bob)
}

#[test]
fn who_looks_at_an_incident_hears_who_else_does() {
    let Some(modules) = modules() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), ANN_AND_BOB);
    aegis.start();
    let (mut ann, mut bob) = ann_and_bob(&modules, &aegis, &aegis);
    let look = format!("look {INCIDENT}");
    ann.tell(&look);
    ann.sees(&["ann"]);
    bob.tell(&look);
    for client in [&ann, &bob] {
        client.sees(&["ann", "bob"]);
    }
    // What is none changes nothing.
    bob.tell("look everything");
    bob.tell("leave");
    ann.sees(&["ann"]);
    // Of many changes the last counts.
    for number in 0..200 {
        bob.tell(&format!("look 0198f0c2-7a55-5b5e-9a55-{number:012}"));
    }
    bob.tell(&look);
    ann.sees(&["ann", "bob"]);
    bob.sees(&["ann", "bob"]);
    // Whoever is cut off comes back.
    let before = bob.heard("looking").len();
    bob.tell("cut");
    wait_for("bob to come back", PATIENCE, || {
        (bob.heard("connected").len() == 2 && bob.heard("looking").len() > before).then_some(())
    });
    for client in [&ann, &bob] {
        client.sees(&["ann", "bob"]);
    }
    drop(bob);
    ann.sees(&["ann"]);
    assert_eq!(aegis.metric("aegis_live_looking"), 1.0);
    ann.tell("leave");
    wait_for("nobody to look", PATIENCE, || {
        (aegis.metric("aegis_live_looking") == 0.0).then_some(())
    });
}

#[test]
fn who_looks_is_known_on_every_instance_and_comes_back_with_redis() {
    let Some(modules) = modules() else { return };
    let (Some(kafka), Some(postgres), Some(_)) = (
        required("AEGIS_TEST_KAFKA"),
        required("AEGIS_TEST_POSTGRES"),
        required("AEGIS_TEST_REDIS"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // Of its own: it dies.
    let (redis, redis_url) = Server::start("redis", folder.path(), "AEGIS_TEST_REDIS");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(database(&postgres, "live"));
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let config = format!(
        "[snapshots]\nurl = \"file://{}\"\n[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\n\
         topic_prefix = \"{prefix}\"\nsession_timeout_ms = 6000\n[topics]\npartitions = 2\n[store]\nurl = \"{store}\"\n\
         [shared]\nredis_url = {{ env = \"THE_REDIS\" }}\nprefix = \"{prefix}\"\n{ANN_AND_BOB}",
        folder.path().join("snapshots").display()
    );
    let [mut one, mut two] = ["one", "two"]
        .map(|name| Aegis::new(&folder.path().join(name), &config).env("THE_REDIS", redis_url.trim_matches('\'')));
    one.start();
    two.start();
    let (mut ann, mut bob) = ann_and_bob(&modules, &one, &two);
    let look = format!("look {INCIDENT}");
    ann.tell(&look);
    ann.sees(&["ann"]);
    for _ in 0..2 {
        bob.tell(&look);
        for client in [&ann, &bob] {
            client.sees(&["ann", "bob"]);
        }
        bob.tell("leave");
        ann.sees(&["ann"]);
    }
    bob.tell(&look);
    ann.sees(&["ann", "bob"]);

    // Without Redis each is told of its own instance's people; incidents come to both.
    let has_it = |client: &Client| {
        let deltas = client.heard("delta");
        deltas.iter().any(|delta| delta["data"]["incident"]["service"] == "s7")
    };
    let sent = std::cell::Cell::new(false);
    redis.outage(|| {
        if !sent.replace(true) {
            send(&one, 7);
        }
        ann.looking() == ["ann"] && bob.looking() == ["bob"] && has_it(&ann) && has_it(&bob)
    });
    for client in [&ann, &bob] {
        client.sees(&["ann", "bob"]);
        assert_eq!(client.heard("connected").len(), 1, "it had to connect again");
    }

    // It dies without a word.
    two.kill();
    ann.sees(&["ann"]);
}
