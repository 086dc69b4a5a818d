//! Doors that take what was meant for another program, on the real ones: Prometheus' own alerts instead of Alertmanager's notifications,
//! amtool, PagerDuty events as Alertmanager sends them; JSON by rules; and all of them as recordings, with a daemon and without.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Aegis, Program, free_port, http, http_get, required, wait_for};

const TOKEN: &str = "a-token-of-the-test";
const ROUTING_KEY: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(90);

/// Event time close behind the wall clock, so that the tests see terms and waits end.
const FAST: &str = "[progress]\nlateness = \"1s\"\n[crew]\nenabled = false\n";

/// Prometheus with a pushgateway; alerts go to `doors` directly, and to an Alertmanager of `receiver` if there is one.
struct Monitoring {
    pushgateway: u16,
    prometheus: Program,
    _others: Vec<Program>,
}

fn monitoring(folder: &Path, doors: &[u16], receiver: Option<&str>) -> Option<Monitoring> {
    let prometheus_bin = required("AEGIS_TEST_PROMETHEUS_BIN")?;
    let alertmanager_bin = required("AEGIS_TEST_ALERTMANAGER_BIN")?;
    let pushgateway_bin = required("AEGIS_TEST_PUSHGATEWAY_BIN")?;
    let (pushgateway, alertmanager, prometheus) = (free_port(), free_port(), free_port());
    let path = |name: &str| folder.join(name).display().to_string();
    let mut others = vec![Program::start(
        "pushgateway",
        Command::new(pushgateway_bin).arg(format!("--web.listen-address=127.0.0.1:{pushgateway}")),
        folder,
    )];
    let mut targets: String = doors
        .iter()
        .map(|port| {
            format!("    - authorization: {{credentials: {TOKEN}}}\n      static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n")
        })
        .collect();
    let mut ready = vec![(pushgateway, "pushgateway"), (prometheus, "prometheus")];
    if let Some(receiver) = receiver {
        let config = format!(
            "route:\n  receiver: aegis\n  group_by: [alertname]\n  group_wait: 1s\n  group_interval: 1s\n  repeat_interval: 1s\nreceivers:\n  - name: aegis\n{receiver}"
        );
        std::fs::write(folder.join("alertmanager.yml"), config).unwrap();
        others.push(Program::start(
            "alertmanager",
            Command::new(alertmanager_bin).args([
                format!("--config.file={}", path("alertmanager.yml")),
                format!("--storage.path={}", path("alertmanager-data")),
                format!("--web.listen-address=127.0.0.1:{alertmanager}"),
                "--cluster.listen-address=".to_owned(),
            ]),
            folder,
        ));
        targets += &format!("    - static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]\n");
        ready.push((alertmanager, "alertmanager"));
    }
    let rules = "groups:\n  - name: test\n    interval: 1s\n    rules:\n      - alert: HighErrorRate\n        expr: demo_error_ratio > 0.05\n        labels: {severity: critical}\n        annotations: {summary: 'errors at {{ $value }}'}\n";
    std::fs::write(folder.join("rules.yml"), rules).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}/rules.yml]\nalerting:\n  alertmanagers:\n{targets}scrape_configs:\n  - job_name: push\n    honor_labels: true\n    static_configs: [{{targets: ['127.0.0.1:{pushgateway}']}}]\n",
        folder.display()
    );
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();
    let prometheus = Program::start(
        "prometheus",
        Command::new(prometheus_bin).args([
            format!("--config.file={}", path("prometheus.yml")),
            format!("--storage.tsdb.path={}", path("prometheus-data")),
            format!("--web.listen-address=127.0.0.1:{prometheus}"),
            // Said again every second, with a term of four.
            "--rules.alert.resend-delay=1s".to_owned(),
        ]),
        folder,
    );
    for (port, name) in ready {
        wait_for(name, PATIENCE, || {
            http_get(port, "/-/ready").filter(|(status, _)| *status == 200)
        });
    }
    Some(Monitoring {
        pushgateway,
        prometheus,
        _others: others,
    })
}

impl Monitoring {
    /// Sets the error ratio of a service.
    fn push(&self, service: &str, ratio: f64) {
        let body = format!("demo_error_ratio{{service=\"{service}\"}} {ratio}\n");
        let path = format!("/metrics/job/demo/service/{service}");
        let (status, answer) = http(self.pushgateway, "POST", &path, "", &body).unwrap();
        assert!(status < 300, "{status} {answer}");
    }
}

fn await_incidents(aegis: &Aegis, wanted: &[(&str, &str)]) {
    let wanted: Vec<(String, String)> = wanted.iter().map(|(t, s)| ((*t).to_owned(), (*s).to_owned())).collect();
    wait_for(&format!("{wanted:?}"), PATIENCE, || {
        Some(aegis.incidents()).filter(|rows| *rows == wanted)
    });
}

#[test]
fn prometheus_and_amtool_send_straight_to_us() {
    let Some(amtool) = required("AEGIS_TEST_AMTOOL_BIN") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(
        folder.path(),
        &format!("[dispatcher.alertmanager]\ntokens = [\"{TOKEN}\"]\n{FAST}"),
    );
    aegis.start();
    // The same alerts by Alertmanager as well: two doors, one alert.
    let receiver = format!(
        "    webhook_configs:\n      - url: http://127.0.0.1:{}/webhooks/alertmanager\n        http_config: {{authorization: {{credentials: {TOKEN}}}}}\n",
        aegis.dispatcher
    );
    let Some(mut monitoring) = monitoring(folder.path(), &[aegis.dispatcher], Some(&receiver)) else {
        return;
    };
    monitoring.push("checkout", 0.4);
    await_incidents(&aegis, &[("HighErrorRate on checkout", "open")]);
    let taken = |sender: &str| {
        aegis.metric(&format!(
            "aegis_webhook_requests_total{{sender=\"{sender}\",status=\"20"
        ))
    };
    wait_for("both doors", PATIENCE, || {
        (taken("alertmanager") >= 3.0 && taken("alertmanager-api") >= 5.0).then_some(())
    });
    await_incidents(&aegis, &[("HighErrorRate on checkout", "open")]);
    monitoring.push("checkout", 0.01);
    await_incidents(&aegis, &[("HighErrorRate on checkout", "resolved")]);
    let members = aegis.sql("select dedup_key, source from incident_members");
    assert_eq!(members.len(), 1, "{members:?}");

    // What nobody says any more is over at its term. Alertmanager is told by Prometheus alone, and says so itself.
    monitoring.push("cart", 0.3);
    let resolved = ("HighErrorRate on checkout", "resolved");
    await_incidents(&aegis, &[("HighErrorRate on cart", "open"), resolved]);
    monitoring.prometheus.kill();
    await_incidents(&aegis, &[("HighErrorRate on cart", "resolved"), resolved]);

    // By hand, without a start.
    let config = folder.path().join("amtool-http.yml");
    std::fs::write(&config, format!("authorization: {{credentials: {TOKEN}}}\n")).unwrap();
    let by_hand = |more: &[&str]| {
        let mut command = Command::new(&amtool);
        command.arg(format!("--alertmanager.url=http://127.0.0.1:{}", aegis.dispatcher));
        command.arg(format!("--http.config.file={}", config.display()));
        command
            .args(["alert", "add", "ByHand", "severity=critical", "service=cli"])
            .args(more);
        let output = command.output().expect("amtool");
        assert!(output.status.success(), "{output:?}");
    };
    by_hand(&[]);
    let known = [("HighErrorRate on cart", "resolved"), resolved];
    await_incidents(&aegis, &[("ByHand on cli", "open"), known[0], known[1]]);
    by_hand(&[]);
    let ended = (chrono::Utc::now() - chrono::Duration::milliseconds(10)).to_rfc3339();
    by_hand(&[&format!("--end={ended}")]);
    await_incidents(&aegis, &[("ByHand on cli", "resolved"), known[0], known[1]]);
    assert_eq!(aegis.sql("select count(*) as n from dead_letters")[0]["n"], 0);
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "{out}{err}");
}

fn event(aegis: &Aegis, path: &str, body: &Value) -> Value {
    let headers = "Content-Type: application/json\r\n";
    let (status, answer) = http(aegis.dispatcher, "POST", path, headers, &body.to_string()).unwrap();
    assert_eq!(status, 202, "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[test]
fn what_was_meant_for_pagerduty() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, ROUTING_KEY).unwrap();
    let mut aegis = Aegis::new(
        folder.path(),
        &format!("[dispatcher.pagerduty.integrations.web]\nrouting_keys = [{{ file = {key:?} }}]\n{FAST}"),
    );
    aegis.start();
    let receiver = format!(
        "    pagerduty_configs:\n      - url: http://127.0.0.1:{}/v2/enqueue\n        routing_key: {ROUTING_KEY}\n",
        aegis.dispatcher
    );
    let Some(monitoring) = monitoring(folder.path(), &[], Some(&receiver)) else {
        return;
    };
    // From a real Alertmanager.
    monitoring.push("checkout", 0.4);
    let title = wait_for("Alertmanager's event", PATIENCE, || {
        let rows = aegis.incidents();
        rows.into_iter()
            .find(|(title, status)| title.contains("HighErrorRate") && status == "open")
    });
    monitoring.push("checkout", 0.0);
    await_incidents(&aegis, &[(&title.0, "resolved")]);

    // The end and the acknowledgement before the trigger.
    let say = |action: &str, key: &str| json!({"routing_key": ROUTING_KEY, "event_action": action, "dedup_key": key});
    let trigger = |key: &str, summary: &str| {
        let mut event = say("trigger", key);
        event["payload"] = json!({"summary": summary, "source": "db-7", "severity": "critical",
            "custom_details": {"service": format!("service-{key}")}});
        event
    };
    event(&aegis, "/v2/enqueue", &say("resolve", "early"));
    event(&aegis, "/v2/enqueue", &say("acknowledge", "early"));
    event(&aegis, "/v2/enqueue", &say("resolve", "never"));
    let answer = event(&aegis, "/v2/enqueue", &trigger("early", "Over before it began"));
    assert_eq!(answer["dedup_key"], "early");
    // And in order, acknowledged.
    event(&aegis, "/v2/enqueue", &trigger("late", "Taken up"));
    event(&aegis, "/v2/enqueue", &say("acknowledge", "late"));
    let change = json!({"routing_key": ROUTING_KEY, "payload": {"summary": "Build 7 deployed", "source": "ci"}});
    event(&aegis, "/v2/change/enqueue", &change);
    let mut wanted = vec![
        ("Over before it began", "resolved"),
        ("Taken up", "investigating"),
        (title.0.as_str(), "resolved"),
    ];
    wanted.sort_unstable();
    await_incidents(&aegis, &wanted);
    let facts = aegis.sql("select fact, count(*) as n from incident_events group by fact");
    let acknowledged = facts.iter().find(|row| row["fact"] == "acknowledged");
    assert_eq!(acknowledged.map(|row| &row["n"]), Some(&json!(2)), "{facts:?}");

    // Nothing of the key was stored or logged.
    aegis.kill();
    let log = std::fs::read_to_string(folder.path().join("aegis.log")).unwrap();
    assert!(!log.contains(ROUTING_KEY));
    assert!(
        !holds(&folder.path().join("data"), ROUTING_KEY.as_bytes()),
        "the routing key lies in the data folder"
    );
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "{out}{err}");
}

/// Whether a file below `folder` holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => holds(&path, bytes),
            false => std::fs::read(&path).is_ok_and(|text| text.windows(bytes.len()).any(|part| part == bytes)),
        }
    })
}

const RULES: &str = r#"
[dispatcher.json.checks]
tokens = ["a-token-of-the-test"]
[normalize.json.checks]
each = "$.checks[*]"
state = "$.state"
identity = ["$.id"]
severity = "$.prio"
title = "$.name"
service = "$.service"
"#;

fn checks(state: &str) -> String {
    json!({"checks": [{"id": 7, "state": state, "prio": "P1", "name": "Ping fails", "service": "web"}]}).to_string()
}

#[test]
fn json_by_rules_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), &format!("{RULES}{FAST}"));
    aegis.start();
    let post = |path: &str, body: &str| {
        let headers = format!("Authorization: Bearer {TOKEN}\r\n");
        http(aegis.dispatcher, "POST", path, &headers, body).unwrap().0
    };
    assert_eq!(post("/webhooks/json/checks", &checks("down")), 202);
    await_incidents(&aegis, &[("Ping fails", "open")]);
    assert_eq!(post("/webhooks/json/checks", &checks("up")), 202);
    await_incidents(&aegis, &[("Ping fails", "resolved")]);
    assert_eq!(post("/webhooks/json/checks", &checks("sideways")), 202);
    assert_eq!(post("/webhooks/grafana", r#"{"my own":"template"}"#), 202);
    wait_for("a dead letter of the unknown word alone", PATIENCE, || {
        let letters = aegis.sql("select count(*) as n from dead_letters");
        let signals = aegis.metric("aegis_stage_items_total{stage=\"normalize\",disposition=\"forwarded\"}");
        (letters[0]["n"] == 1 && signals >= 3.0).then_some(())
    });
    aegis.kill();
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "{out}{err}");
}

/// Every sender's recorded bodies: what `--from` names, the body, the incident that it makes.
fn recordings() -> Vec<(Vec<&'static str>, String, &'static str)> {
    let start = "2026-11-23T08:48:26.002Z";
    let labels = |name: &str| json!({"alertname": name, "severity": "critical", "service": "s"});
    let grafana = json!({"version": "1", "orgId": 1, "alerts": [{"status": "firing", "labels": labels("ByGrafana"), "startsAt": start, "fingerprint": "f"}]});
    let am =
        json!({"version": "4", "alerts": [{"status": "firing", "labels": labels("ByWebhook"), "startsAt": start}]});
    let cloud = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "disk",
        "data": {"title": "ByEvent", "status": "firing", "severity": "critical", "starts_at": start, "dedup_key": "k", "service": "t"}});
    let github = json!({"action": "created", "repository": {"id": 7, "name": "cart", "full_name": "shop/cart", "default_branch": "main"},
        "sender": {"login": "kim"}, "ref": "refs/heads/main", "commit_oid": "c",
        "alert": {"number": 1, "state": "open", "created_at": start, "html_url": "u", "tool": {"name": "CodeQL"},
            "rule": {"id": "r", "severity": "error", "security_severity_level": "critical", "description": "ByGithub"},
            "most_recent_instance": {"ref": "refs/heads/main"}}});
    let pagerduty = json!({"routing_key": ROUTING_KEY, "event_action": "trigger", "dedup_key": "k",
        "payload": {"summary": "ByPagerDuty", "source": "h", "severity": "critical", "timestamp": start}});
    let flat = json!({"ts": 1_795_423_706_002_i64, "fingerprint": "f", "severity": "critical", "title": "ByFlat", "service": "u"});
    vec![
        (vec!["--from", "alertmanager"], am.to_string(), "ByWebhook on s"),
        (
            vec!["--from", "alertmanager-api"],
            json!([{"labels": labels("ByApi"), "startsAt": start}]).to_string(),
            "ByApi on s",
        ),
        (vec!["--from", "grafana"], grafana.to_string(), "ByGrafana on s"),
        (
            vec!["--from", "github", "--event", "code_scanning_alert"],
            github.to_string(),
            "",
        ),
        (vec!["--from", "pagerduty"], pagerduty.to_string(), "ByPagerDuty"),
        (vec!["--from", "events"], cloud.to_string(), "ByEvent"),
        (
            vec!["--from", "json", "--mapper", "checks"],
            checks("down"),
            "Ping fails",
        ),
        (vec!["--from", "json"], r#"{"no":"rules"}"#.to_owned(), ""),
        (vec!["--from", "flat"], flat.to_string(), "ByFlat"),
    ]
}

#[test]
fn recordings_of_every_sender_without_a_daemon() {
    let root = tempfile::tempdir().unwrap();
    for (n, (arguments, body, title)) in recordings().into_iter().enumerate() {
        // A body, and a capture with headers.
        let headers = json!([["Content-Type", "application/json"], ["Authorization", "Bearer x"]]);
        let capture = json!({"received_at": 1_795_423_800.5, "headers": headers, "raw_body": body});
        for (form, text) in [("body", body.clone()), ("capture", capture.to_string())] {
            let folder = root.path().join(format!("{n}-{form}"));
            let file = root.path().join(format!("{n}-{form}.json"));
            std::fs::write(&file, text).unwrap();
            let aegis = Aegis::new(&folder, RULES);
            let summary = ingest(&aegis, &arguments, &file);
            let counted = (&summary["bodies"], &summary["signals"], &summary["dead_lettered"]);
            assert_eq!(
                counted,
                (&json!(1), &json!(1), &json!(0)),
                "{arguments:?} {form}: {summary}"
            );
            if !title.is_empty() {
                assert_eq!(
                    aegis.incidents(),
                    [(title.to_owned(), "open".to_owned())],
                    "{arguments:?} {form}"
                );
            }
            assert!(
                !holds(&folder.join("data"), ROUTING_KEY.as_bytes()),
                "{arguments:?} {form}"
            );
        }
    }
}

fn ingest(aegis: &Aegis, arguments: &[&str], file: &Path) -> Value {
    let file = file.display().to_string();
    let mut command = vec!["ingest", "--json"];
    command.extend(arguments);
    command.push(&file);
    let (code, out, err) = aegis.run(&command);
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn recordings_of_every_sender_with_a_daemon() {
    let root = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(&root.path().join("aegis"), &format!("{RULES}{FAST}"));
    aegis.start();
    for (n, (arguments, body, title)) in recordings().into_iter().enumerate() {
        let file = root.path().join(format!("{n}.json"));
        std::fs::write(&file, body).unwrap();
        let summary = ingest(&aegis, &arguments, &file);
        assert_eq!(
            (&summary["daemon"], &summary["bodies"]),
            (&json!(true), &json!(1)),
            "{summary}"
        );
        if !title.is_empty() {
            wait_for(title, PATIENCE, || {
                let rows = aegis.sql("select title from incident_members");
                rows.iter().any(|row| row["title"] == title).then_some(())
            });
        }
    }
    assert_eq!(aegis.sql("select count(*) as n from dead_letters")[0]["n"], 0);
}

#[test]
fn completions_list_every_sender() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_aegis"))
            .args(["completions", shell])
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for sender in [
            "alertmanager-api",
            "grafana",
            "github",
            "pagerduty",
            "events",
            "json",
            "flat",
            "otlp",
            "loki",
            "lines",
        ] {
            assert!(script.contains(sender), "{shell} does not know {sender}");
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_aegis"))
        .args(["ingest", "--from", "github", "--mapper", "x", "y"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
