//! Similar past incidents through the real program: what fixed the last one is told of the next one; a store or a model that is gone, and a
//! death in the middle, cost time and no incident; another model fills a collection of its own.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::site::{ALLOW, Site};
use support::{Aegis, http, http_get, required, wait_for};

const PATIENCE: Duration = Duration::from_secs(120);
const JSON: &str = "Content-Type: application/json\r\n";

/// Sends one firing alert; whether it was taken.
fn alert(port: u16, n: u32, service: &str, name: &str, summary: &str) -> bool {
    let labels = json!({"alertname": name, "service": service, "namespace": service, "env": "production", "severity": "critical",
        "team": "shop"});
    let body = json!({"version": "4", "groupKey": name, "status": "firing", "receiver": "r", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://a", "alerts": [{"status": "firing", "labels": labels,
        "annotations": {"summary": summary}, "startsAt": chrono::Utc::now().to_rfc3339(), "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "", "fingerprint": format!("{n:016x}")}]});
    let answer = http(port, "POST", "/webhooks/alertmanager", JSON, &body.to_string());
    answer.is_some_and(|(status, _)| (200..300).contains(&status))
}

fn incident_of(aegis: &Aegis, service: &str) -> String {
    wait_for(&format!("the incident of {service}"), PATIENCE, || {
        let rows = aegis.sql(&format!(
            "select id from incidents where service = '{service}' and merged_into is null"
        ));
        Some(rows.first()?["id"].as_str()?.to_owned())
    })
}

fn get(aegis: &Aegis, path: &str) -> (u16, Value) {
    let (status, body) = http_get(aegis.gateway, path).expect("an answer");
    (status, serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn rss_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    let kb: f64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .unwrap_or(0.0);
    kb / 1024.0
}

fn degraded(aegis: &Aegis) -> Option<String> {
    let (status, ready) = get(aegis, "/readyz");
    assert_eq!(status, 200, "what vectors lack makes nobody unready: {ready}");
    ready["degraded"]["similar incidents"].as_str().map(str::to_owned)
}

/// Once everything on the log is in the vectors.
fn caught_up(aegis: &Aegis) {
    wait_for("the vectors to catch up", PATIENCE, || {
        let answered = aegis.run(&["similar", "anything", "--json"]);
        let answer: Value = serde_json::from_str(&answered.1).ok()?;
        let there = answer["degraded"].is_null() && answer["behind"] == 0;
        (there && aegis.metric("aegis_vectors_backlog") == 0.0).then_some(())
    });
}

fn titles(aegis: &Aegis, text: &str) -> Vec<String> {
    let (code, out, err) = aegis.run(&["similar", text, "--json", "--limit", "20"]);
    assert_eq!(code, 0, "{out}{err}");
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    let similar = answer["similar"].as_array().expect("a list").iter();
    similar
        .map(|one| one["title"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn what_fixed_the_last_one_is_told_of_the_next_one() {
    let mut site = Site::prepared(ALLOW, |_| String::new(), |_| {});
    site.aegis.start();
    let pid = site
        .aegis
        .program
        .as_ref()
        .map(|program| program.pid())
        .expect("it runs");
    let before = rss_mb(pid);
    site.log_oom();
    site.alert();
    site.remediation("verified");
    let first = site.incident("the incident resolved by the agent", |row| {
        row["resolved_by"] == "agent"
    });
    let first = first["id"].as_str().unwrap().to_owned();
    caught_up(&site.aegis);
    println!(
        "VmRSS {before:.0} MB before the first text, {:.0} MB with the model loaded",
        rss_mb(pid)
    );

    // Another service, the same trouble.
    let began = Instant::now();
    assert!(alert(
        site.aegis.dispatcher,
        0xbb,
        "payments",
        "MemoryExhausted",
        "High Memory Usage on payments (91%)"
    ));
    let second = incident_of(&site.aegis, "payments");
    let path = format!("/api/v1/incidents/{second}/similar");
    let (status, answer) = get(&site.aegis, &path);
    println!("from the alert to its similar incidents: {:?}", began.elapsed());
    assert_eq!(status, 200, "{answer}");
    let best = &answer["similar"][0];
    assert_eq!(best["id"], first.as_str(), "{answer}");
    assert_eq!(
        [
            &best["fixes"][0]["action"],
            &best["fixes"][0]["target"],
            &best["fixes"][0]["status"]
        ],
        ["restart", "deployment/api-server", "verified"]
    );
    let features: Vec<&str> = best["matched"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["feature"].as_str())
        .collect();
    assert!(
        features.contains(&"words") && features.contains(&"environment") && features.contains(&"vector"),
        "{best}"
    );
    assert!(
        best["root_cause"].as_str().is_some_and(|cause| !cause.is_empty()),
        "{best}"
    );

    // The command line says the same, and the running process answers it.
    let (code, out, err) = site.aegis.run(&["similar", &second]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains(&first) && out.contains("restart deployment/api-server in production (verified)"),
        "{out}"
    );
    let (_, out, _) = site.aegis.run(&["similar", &second, "--json"]);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["similar"], answer["similar"]);
    // Words; of the two that are about memory, and no third.
    let (status, found) = get(&site.aegis, "/api/v1/similar?text=java%20heap%20exhausted&limit=1");
    assert_eq!(status, 200, "{found}");
    assert_eq!(found["similar"].as_array().map(Vec::len), Some(1), "{found}");
    // The first one has none before it.
    let (_, none) = get(&site.aegis, &format!("/api/v1/incidents/{first}/similar"));
    assert_eq!(none["similar"], json!([]));
    // What is not there.
    let nobody = "00000000-0000-4000-8000-000000000000";
    assert_eq!(get(&site.aegis, &format!("/api/v1/incidents/{nobody}/similar")).0, 404);
    assert_eq!(site.aegis.run(&["similar", nobody]).0, 4);
    assert_eq!(get(&site.aegis, "/api/v1/similar").0, 400);
    // It was looked for when it opened, without being asked.
    wait_for("the new incident's look back", PATIENCE, || {
        (site.aegis.metric("aegis_similar_total") >= 2.0).then_some(())
    });
    let (count, sum) = (
        site.aegis.metric("aegis_similar_seconds_count"),
        site.aegis.metric("aegis_similar_seconds_sum"),
    );
    println!(
        "looked back {count} times, {:.2} s on average after the alert was seen",
        sum / count
    );
    site.books_balance();

    // Without a running process the command looks by itself.
    site.aegis.program.take().expect("it runs").terminate();
    let (code, out, err) = site.aegis.run(&["similar", &second]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&first), "{out}");
}

#[test]
fn a_store_that_is_gone_holds_nobody_and_a_death_in_the_middle_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(
        folder.path(),
        "[progress]\nlateness = \"1s\"\n[crew]\nenabled = false\n",
    );
    let place = folder.path().join("data/vectors");
    std::fs::create_dir_all(folder.path().join("data")).unwrap();
    std::fs::write(&place, "in the way").unwrap();
    aegis.start();
    let told = [
        ("db", "DiskFull", "no space left on the database disk"),
        (
            "shop",
            "CertificateExpires",
            "the TLS certificate expires in three days",
        ),
        ("queue", "QueueGrows", "messages pile up and nobody consumes them"),
    ];
    for (n, (service, name, summary)) in (1..).zip(told) {
        assert!(alert(aegis.dispatcher, n, service, name, summary));
        incident_of(&aegis, service);
    }
    wait_for("the backlog to be counted", PATIENCE, || {
        (aegis.metric("aegis_vectors_backlog") > 0.0).then_some(())
    });
    let why = wait_for("the reason to be told", PATIENCE, || degraded(&aegis));
    assert!(why.contains("unavailable") && why.contains("records wait"), "{why}");
    let (code, _, err) = aegis.run(&["similar", "disk"]);
    assert_eq!(code, 5, "{err}");
    std::fs::remove_file(&place).unwrap();
    wait_for("the trouble to end", PATIENCE, || {
        degraded(&aegis).is_none().then_some(())
    });
    caught_up(&aegis);
    assert_eq!(titles(&aegis, "database ran out of disk space")[0], "DiskFull on db");

    // It dies with texts embedded and nothing of them written, then with all of it written and nobody told; then for no reason at all.
    for (round, place) in [Some("sink.before@vectors:1"), Some("sink.after@vectors:1"), None]
        .into_iter()
        .enumerate()
    {
        aegis.kill();
        aegis.set_env("AEGIS_TEST_FAILPOINT", place);
        aegis.spawn();
        let n = 10 + round as u32;
        let service = format!("cache-{round}");
        let taken = wait_for("the alert to be taken, or a death", PATIENCE, || {
            let taken = alert(
                aegis.dispatcher,
                n,
                &service,
                "EvictionStorm",
                "the cache evicts everything at once",
            );
            let alive = aegis.program.as_mut().is_some_and(|program| program.running());
            (taken || !alive).then_some(taken)
        });
        if place.is_some() {
            wait_for("the death", PATIENCE, || {
                let alive = aegis.program.as_mut().is_some_and(|program| program.running());
                (!alive).then_some(())
            });
        }
        aegis.kill();
        aegis.set_env("AEGIS_TEST_FAILPOINT", None);
        aegis.start();
        if !taken {
            assert!(alert(
                aegis.dispatcher,
                n,
                &service,
                "EvictionStorm",
                "the cache evicts everything at once"
            ));
        }
        incident_of(&aegis, &service);
    }
    caught_up(&aegis);
    let mut found = titles(&aegis, "EvictionStorm on cache");
    found.retain(|title| title.starts_with("EvictionStorm"));
    found.sort();
    assert_eq!(
        found,
        [
            "EvictionStorm on cache-0",
            "EvictionStorm on cache-1",
            "EvictionStorm on cache-2"
        ],
        "each once"
    );

    // Deleted while nobody looked: filled from the beginning.
    aegis.program.take().expect("it runs").terminate();
    std::fs::remove_dir_all(&place).unwrap();
    aegis.start();
    caught_up(&aegis);
    assert_eq!(titles(&aegis, "database ran out of disk space")[0], "DiskFull on db");
}

/// Serves the files of a folder.
fn serve(folder: PathBuf) -> (String, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let file = move |uri: axum::http::Uri| {
        let path = folder.join(uri.path().trim_start_matches('/'));
        async move { std::fs::read(path).map_err(|_| axum::http::StatusCode::NOT_FOUND) }
    };
    runtime.spawn(async move { axum::serve(listener, axum::Router::new().fallback(axum::routing::get(file))).await });
    (url, runtime)
}

#[test]
fn another_model_is_fetched_checked_used_and_gone() {
    let (Some(library), Some(files)) = (required("AEGIS_TEST_ONNXRUNTIME"), required("AEGIS_TEST_MINILM")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (url, _serving) = serve(PathBuf::from(&files));
    let config =
        format!("[progress]\nlateness = \"1s\"\n[crew]\nenabled = false\n[models]\nonnxruntime = \"{library}\"\n");
    let mut aegis = Aegis::new(folder.path(), &config);
    let fetch = |aegis: &Aegis, more: &[&str]| aegis.run(&[&["models", "fetch", "minilm"], more].concat());
    assert_eq!(fetch(&aegis, &[]).0, 2, "nobody said where it is");
    assert_eq!(fetch(&aegis, &["--from", "/nowhere"]).0, 4);
    assert_eq!(fetch(&aegis, &["--from", &url]).0, 2, "a network needs a hash");
    let wrong = "0".repeat(64);
    let (code, _, err) = fetch(&aegis, &["--from", &url, "--sha256", &wrong]);
    assert_eq!(code, 1, "{err}");
    let found = err
        .split_whitespace()
        .find(|word| word.trim_matches(',').len() == 64)
        .expect("the hash is told");
    let hash = found.trim_matches(',').to_owned();
    assert_eq!(aegis.run(&["models", "use", "minilm"]).0, 4, "nothing was taken");
    let (code, out, err) = fetch(&aegis, &["--from", &url, "--sha256", &hash]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&hash), "{out}");
    assert_eq!(
        fetch(&aegis, &["--from", &files]).0,
        0,
        "a folder of one's own needs none"
    );

    aegis.start();
    assert!(alert(
        aegis.dispatcher,
        1,
        "db",
        "DiskFull",
        "no space left on the database disk"
    ));
    assert!(alert(
        aegis.dispatcher,
        2,
        "shop",
        "CertificateExpires",
        "the TLS certificate expires in three days"
    ));
    incident_of(&aegis, "db");
    incident_of(&aegis, "shop");
    caught_up(&aegis);
    let model = |aegis: &Aegis| {
        let (code, out, err) = aegis.run(&["similar", "x", "--json"]);
        assert_eq!(code, 0, "{out}{err}");
        let answer: Value = serde_json::from_str(&out).expect("JSON");
        answer["model"].as_str().unwrap_or_default().to_owned()
    };
    assert!(model(&aegis).starts_with("builtin "), "{}", model(&aegis));
    // While it runs; the collection is filled by replay.
    let (code, out, err) = aegis.run(&["models", "use", "minilm"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(model(&aegis), format!("minilm {}", &hash[..12]));
    wait_for("the new collection to be filled", PATIENCE, || {
        titles(&aegis, "database ran out of disk space")
            .contains(&"DiskFull on db".to_owned())
            .then_some(())
    });
    caught_up(&aegis);
    let collections = std::fs::read_dir(folder.path().join("data/vectors")).unwrap();
    let collections = collections
        .filter(|entry| entry.as_ref().unwrap().path().is_dir())
        .count();
    assert_eq!(collections, 2, "that of the other model stays");

    // The model is deleted: `check` says so, and incidents are as always.
    aegis.program.take().expect("it runs").terminate();
    let gone = Path::new(&folder.path().join("data/models")).join("minilm");
    std::fs::rename(&gone, folder.path().join("aside")).unwrap();
    let (code, _, err) = aegis.run(&["check"]);
    assert_eq!(code, 0);
    assert!(
        err.contains("models.model") && err.contains("aegis models fetch minilm"),
        "{err}"
    );
    aegis.start();
    assert!(alert(aegis.dispatcher, 3, "queue", "QueueGrows", "messages pile up"));
    incident_of(&aegis, "queue");
    let why = wait_for("the reason to be told", PATIENCE, || degraded(&aegis));
    assert!(why.contains("there is no model \"minilm\""), "{why}");
    std::fs::rename(folder.path().join("aside"), &gone).unwrap();
    wait_for("the trouble to end", PATIENCE, || {
        degraded(&aegis).is_none().then_some(())
    });
    caught_up(&aegis);
    assert!(titles(&aegis, "messages pile up in the queue").contains(&"QueueGrows on queue".to_owned()));
    // And back to the first one, whose vectors are still there.
    assert_eq!(aegis.run(&["models", "use", "builtin"]).0, 0);
    caught_up(&aegis);
    assert!(model(&aegis).starts_with("builtin "));
    let (_, out, _) = aegis.run(&["models", "list", "--json"]);
    let used: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let used: Vec<&str> = used
        .iter()
        .filter(|line| line["used"] == true)
        .filter_map(|line| line["name"].as_str())
        .collect();
    assert_eq!(used, ["builtin"]);
}
