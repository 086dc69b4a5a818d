//! Log lines end to end, through the real program: pushed by Loki and OTLP, mined, told as a log pattern that joins the incident of
//! its service, archived, and asked for.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Aegis, http, wait_for};

const JSON: &str = "Content-Type: application/json\r\n";

/// Now, in nanoseconds since the epoch.
fn nanos() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("after 1970").as_nanos()
}

fn loki(texts: &[&str]) -> String {
    let values: Vec<Value> = texts.iter().map(|text| json!([nanos().to_string(), text])).collect();
    let labels = json!({"app": "checkout", "namespace": "shop", "env": "prod"});
    json!({"streams": [{"stream": labels, "values": values}]}).to_string()
}

fn otlp(texts: &[&str]) -> String {
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let attributes = [
        attribute("service.name", "checkout"),
        attribute("k8s.namespace.name", "shop"),
        attribute("deployment.environment.name", "prod"),
    ];
    let record = |text: &&str| {
        json!({"timeUnixNano": nanos().to_string(), "severityNumber": 17, "severityText": "ERROR",
            "body": {"stringValue": text}, "traceId": "0af7651916cd43dd8448eb211c80319c"})
    };
    let records: Vec<Value> = texts.iter().map(record).collect();
    json!({"resourceLogs": [{"resource": {"attributes": attributes}, "scopeLogs": [{"logRecords": records}]}]})
        .to_string()
}

fn alert() -> String {
    let at = chrono::Utc::now().to_rfc3339();
    let labels = json!({"alertname": "PodRestarts", "service": "checkout", "namespace": "shop", "env": "prod", "severity": "critical"});
    json!({"version": "4", "groupKey": "k", "status": "firing", "receiver": "r", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://a", "alerts": [{"status": "firing", "labels": labels, "annotations": {},
        "startsAt": at, "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "00000000000000aa"}]})
    .to_string()
}

#[test]
fn lines_of_an_exhausted_heap_join_the_incident_of_their_service() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    aegis.start();
    let port = aegis.dispatcher;
    let post = |path: &str, body: &str| http(port, "POST", path, JSON, body).expect("an answer");

    assert_eq!(post("/webhooks/alertmanager", &alert()).0, 202);
    let trace = [
        "INFO order 4711 taken",
        "java.lang.OutOfMemoryError: Java heap space",
        "\tat shop.Cart.grow(Cart.java:42)",
        "\tat shop.Cart.add(Cart.java:17)",
        "INFO order 4712 taken",
    ];
    let pushed = loki(&trace);
    assert_eq!(post("/loki/api/v1/push", &pushed).0, 204);
    // Sent again by a client that missed the answer: taken once.
    assert_eq!(post("/loki/api/v1/push", &pushed).0, 204);
    let (status, body) = post(
        "/v1/logs",
        &otlp(&[
            "worker 3 was killed: out of memory",
            "worker 4 was killed: out of memory",
        ]),
    );
    assert_eq!((status, body.as_str()), (200, "{}"));
    assert_eq!(post("/v1/logs", "{").0, 400);

    let members = wait_for("both log patterns in the incident", Duration::from_secs(60), || {
        let rows = aegis.sql(
            "select m.title, m.source, m.rule, i.status, i.severity, i.title as incident from incident_members m \
             join incidents i on i.id = m.incident_id order by m.source, m.title",
        );
        (rows.len() == 3).then_some(rows)
    });
    let shown: Vec<(String, String)> = members
        .iter()
        .map(|row| {
            (
                row["source"].as_str().unwrap().to_owned(),
                row["title"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let wanted = [
        ("alertmanager", "PodRestarts on checkout"),
        (
            "logs",
            "New error in the logs of checkout: java.lang.OutOfMemoryError: Java heap space",
        ),
        (
            "logs",
            "New error in the logs of checkout: worker <num> was killed: out of memory",
        ),
    ];
    assert_eq!(
        shown,
        wanted.map(|(source, title)| (source.to_owned(), title.to_owned()))
    );
    assert!(
        members.iter().all(|row| row["incident"] == members[0]["incident"]),
        "{members:?}"
    );

    let signals =
        aegis.sql("select kind, state, severity, environment, extra from signals where source = 'logs' order by title");
    assert_eq!(
        (&signals[0]["kind"], &signals[0]["state"]),
        (&json!("log_pattern"), &json!("event"))
    );
    assert_eq!(
        (&signals[0]["severity"], &signals[0]["environment"]),
        (&json!("info"), &json!("prod"))
    );
    let extra: Value = serde_json::from_str(signals[0]["extra"].as_str().unwrap()).unwrap();
    assert_eq!((&extra["count"], &extra["window_s"]), (&json!(1), &json!(60)));
    assert!(
        extra["examples"][0].as_str().unwrap().contains("Cart.java:42"),
        "{extra}"
    );

    // A running aegis writes what it has before it is asked.
    wait_for("the lines in SQL", Duration::from_secs(30), || {
        (aegis.sql("select count(*) as n from Logs")[0]["n"] == 5).then_some(())
    });
    let lines = |arguments: &[&str]| -> Vec<Value> {
        let (code, out, err) = aegis.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, 0, "{out}{err}");
        out.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    let errors = wait_for("the lines in the archive", Duration::from_secs(30), || {
        let errors = lines(&["logs", "--service", "checkout", "--since", "10m", "--level", "error"]);
        (errors.len() == 3).then_some(errors)
    });
    assert!(
        errors[0]["text"].as_str().unwrap().contains("\n\tat shop.Cart.grow"),
        "{errors:?}"
    );
    assert_eq!(errors[1]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(lines(&["logs", "--text", "ORDER 4712"]).len(), 1);
    assert_eq!(lines(&["logs", "--service", "it's another"]).len(), 0);
    let template = errors[1]["template"].as_str().unwrap();
    assert_eq!(lines(&["logs", "--template", template]).len(), 2);
    let templates = lines(&["templates", "--service", "checkout"]);
    let counted: Vec<(i64, &str)> = templates
        .iter()
        .map(|row| (row["lines"].as_i64().unwrap(), row["pattern"].as_str().unwrap()))
        .collect();
    assert_eq!(counted.len(), 3, "{counted:?}");
    assert!(counted.contains(&(2, "INFO order <num> taken")), "{counted:?}");
    assert!(
        counted.contains(&(2, "worker <num> was killed: out of memory")),
        "{counted:?}"
    );
    let (code, table, _) = aegis.run(&["templates"]);
    assert!(code == 0 && table.contains("INFO order <num> taken"), "{table}");

    assert_eq!(aegis.program.as_mut().and_then(support::Program::terminate), Some(0));
    let n = &aegis.sql("select count(*) as n from logs")[0]["n"];
    assert_eq!(*n, json!(5), "the delivery that came twice was taken once");
    let (code, out, err) = aegis.run(&["audit", "conservation", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
}

/// OpenTelemetry's own gRPC exporter, beside the same lane over HTTP.
#[test]
fn lines_over_grpc_go_the_same_way() {
    let Ok(python) = std::env::var("AEGIS_TEST_OTEL_PYTHON") else {
        assert!(
            std::env::var("AEGIS_TEST_REQUIRE").is_err(),
            "AEGIS_TEST_OTEL_PYTHON is not set: scripts/services/samples.sh"
        );
        eprintln!("not run: AEGIS_TEST_OTEL_PYTHON is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let grpc = format!("127.0.0.1:{}", support::free_port());
    let dispatcher = format!("otlp_grpc_listen = \"{grpc}\"\n[dispatcher.otlp]\ntokens = [\"t0\"]\n");
    let mut aegis = Aegis::with_dispatcher(folder.path(), &dispatcher);
    aegis.start();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../sources/tests/webhook_dispatcher/send.py"
    );
    let output = std::process::Command::new(python)
        .args([script, &grpc, "t0"])
        .output()
        .expect("python");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "plain SUCCESS\ngzip SUCCESS\nstranger FAILURE\n", "{output:?}");
    let bearer = format!("{JSON}Authorization: Bearer t0\r\n");
    let answer = http(
        aegis.dispatcher,
        "POST",
        "/v1/logs",
        &bearer,
        &otlp(&["cannot price order http"]),
    );
    assert_eq!(answer.expect("an answer").0, 200);
    wait_for("the lines in SQL", Duration::from_secs(60), || {
        let rows = aegis.sql("select text from logs where service = 'checkout' order by text");
        let texts: Vec<&str> = rows.iter().filter_map(|row| row["text"].as_str()).collect();
        (texts
            == [
                "cannot price order gzip",
                "cannot price order http",
                "cannot price order plain",
            ])
        .then_some(())
    });
    let said = aegis.program.as_ref().map(support::Program::log).unwrap_or_default();
    assert!(said.contains(&grpc), "the door is printed with the others: {said}");
    assert_eq!(aegis.program.as_mut().and_then(support::Program::terminate), Some(0));
    let (code, out, err) = aegis.run(&["audit", "conservation", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn log_files_are_taken_in_and_a_logs_topic_never_written_stalls_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = Aegis::new(folder.path(), "");
    let file = folder.path().join("checkout.txt");
    let mut text = String::new();
    for minute in 0..6 {
        for n in 0..4 {
            text.push_str(&format!("2026-11-23 10:0{minute}:{n:02},000 INFO order {n} taken\n"));
        }
    }
    for n in 0..40 {
        text.push_str(&format!(
            "2026-11-23 10:07:{n:02},000 ERROR payment {n} failed\n\tat shop.Pay.pay(Pay.java:{n})\n"
        ));
    }
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let (code, out, err) = aegis.run(&["ingest", "--json", "--from", "lines", "--service", "checkout", &file]);
    assert_eq!(code, 0, "{out}{err}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["lines"], &summary["dead_lettered"]), (&json!(104), &json!(0)));
    // A spike of errors is worth a page.
    let incidents = aegis.sql("select title, severity, status from incidents");
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert_eq!(incidents[0]["severity"], "warning");
    let signals = aegis.sql("select title, severity from signals order by severity, title");
    assert_eq!(signals.len(), 3, "new, its tenfold, and the spike: {signals:?}");
    let counted = aegis.sql("select pattern, count(*) as n from logs group by 1 order by 1");
    assert_eq!(counted.len(), 2, "{counted:?}");
    assert_eq!(counted[0]["n"], json!(40), "a row of a trace is no line");

    // Alerts of the next day, in another replay: the lines of the day before hold no event clock.
    let body = |status: &str, ends: &str| {
        json!({"version": "4", "groupKey": "k", "status": status, "receiver": "r", "groupLabels": {}, "commonLabels": {},
            "commonAnnotations": {}, "externalURL": "http://a", "alerts": [{"status": status,
            "labels": {"alertname": "Down", "service": "other", "severity": "critical"}, "annotations": {},
            "startsAt": "2026-11-24T10:00:00Z", "endsAt": ends, "generatorURL": "", "fingerprint": "00000000000000bb"}]})
        .to_string()
    };
    let alerts = folder.path().join("alerts.jsonl");
    let rows = [
        body("firing", "0001-01-01T00:00:00Z"),
        body("resolved", "2026-11-24T10:30:00Z"),
    ];
    std::fs::write(&alerts, rows.join("\n")).unwrap();
    let (code, out, err) = aegis.run(&[
        "ingest",
        "--close",
        "--from",
        "alertmanager",
        &alerts.display().to_string(),
    ]);
    assert_eq!(code, 0, "{out}{err}");
    let incidents = aegis.sql("select status from incidents where service = 'other'");
    assert_eq!(incidents[0]["status"], "resolved");
    // The incident of events alone is over once the clock has passed its gap.
    let pattern = aegis.sql("select status from incidents where service = 'checkout'");
    assert_eq!(pattern[0]["status"], "resolved", "the event clock stood still");
    let (code, out, err) = aegis.run(&["audit", "conservation", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn what_cannot_be_read_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = Aegis::new(folder.path(), "");
    let file = folder.path().join("push.json");
    std::fs::write(&file, r#"{"streams":[{"stream":{},"values":[["soon","x"]]}]}"#).unwrap();
    let (code, _, err) = aegis.run(&["ingest", "--from", "loki", &file.display().to_string()]);
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("/streams/0/values/0/0") && err.contains("push.json"),
        "{err}"
    );
    let (code, _, err) = aegis.run(&["ingest", "--from", "lines", &file.display().to_string()]);
    assert!(code == 2 && err.contains("--service"), "{err}");
    let (code, _, err) = aegis.run(&["logs", "--level", "loud"]);
    assert!(
        code == 2 && err.contains("trace, debug, info, warn, error, fatal"),
        "{err}"
    );
}
