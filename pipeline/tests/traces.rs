//! Traces and log lines of the running product, received by a real OpenTelemetry collector; the alert rules' metrics, on the same program.

#[path = "traces/collector.rs"]
mod collector;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use collector::{Collector, Span};
use serde_json::{Value, json};
use support::alerts::alert;
use support::site::{ALLOW, PATIENCE, Site};
use support::{Aegis, free_port, http, http_get, wait_for};
use world::System;

/// In everything that is secret. Nobody may hear it.
const SECRET: &str = "hunter2";
/// Where the sender of the alert was.
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// Where a caller of the API is.
const READER: &str = "00-11111111111111111111111111111111-2222222222222222-01";

fn telemetry(collector: &Collector, more: &str) -> String {
    format!(
        "[telemetry]\notlp_endpoint = \"http://127.0.0.1:{}\"\nheaders = {{ authorization = \"Bearer {SECRET}-telemetry\" }}\n\
         attributes = {{ \"deployment.environment.name\" = \"test\" }}\n{more}",
        collector.port
    )
}

/// Where the spans of a name hang: the names above, without the names of what is told many times.
fn parents(spans: &BTreeMap<String, Span>) -> BTreeMap<String, BTreeSet<String>> {
    let mut parents: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for span in spans.values() {
        let above = match span.text("parentSpanId") {
            "" => String::new(),
            id => spans
                .get(id)
                .map_or_else(|| "?".to_owned(), |span| span.text("name").to_owned()),
        };
        parents.entry(span.text("name").to_owned()).or_default().insert(above);
    }
    parents
}

#[test]
fn one_trace_from_the_webhook_to_the_notification_whatever_dies() {
    let folder = tempfile::tempdir().unwrap();
    let Some(collector) = Collector::start(&folder.path().join("collector")) else {
        return;
    };
    let nobody = free_port();
    let extra = |url: &str| {
        format!(
            "[normalize]\nmax_signal_bytes = 20000\n\
             [gateway.tokens.ann]\ntoken = \"api-{SECRET}-token-of-ann-00000000\"\nrole = \"viewer\"\n\
             [notify.receivers.chat]\nkind = \"slack\"\nchannel = \"C1\"\ntoken = \"xoxb-{SECRET}\"\nurl = \"{url}/api/\"\n\
             [notify.receivers.gone]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{nobody}/{SECRET}\"\nattempts = 1\n\
             [[notify.routes]]\nreceivers = [\"chat\", \"gone\"]\n{}",
            telemetry(&collector, "")
        )
    };
    let mut site = Site::prepared(ALLOW, extra, |_| {});
    // The first spans are taken, and the process dies before it has written down that they are.
    site.aegis.set_env("AEGIS_TEST_FAILPOINT", Some("traces.sent:1"));
    site.aegis.start();
    site.log_oom();
    let mut firing = site.firing();
    firing["alerts"][0]["annotations"]["description"] = json!(format!("password={SECRET} of the api-server"));
    firing["alerts"][0]["labels"]["alertname"] = json!(format!("High Memory Usage, token={SECRET}-title"));
    let headers =
        format!("Content-Type: application/json\r\ntraceparent: {CALLER}\r\nAuthorization: Bearer {SECRET}-sender\r\n");
    let sent = http(
        site.aegis.dispatcher,
        "POST",
        "/webhooks/alertmanager",
        &headers,
        &firing.to_string(),
    );
    assert!(sent.is_some_and(|(status, _)| (200..300).contains(&status)));
    let mut program = site.aegis.program.take().expect("started");
    wait_for("death behind the first spans", PATIENCE, || {
        (!program.running()).then_some(())
    });
    let first_life = program.log();
    site.aegis.set_env("AEGIS_TEST_FAILPOINT", None);
    site.aegis.start();
    site.remediation("verified");
    let incident = site.incident("the incident resolved by the agent", |row| row["status"] == "resolved");
    let id = incident["id"].as_str().unwrap();
    let trace = id.replace('-', "");

    let expected: &[(&str, &[&str])] = &[
        ("incident", &[""]),
        ("receive alertmanager", &["incident"]),
        ("normalize", &["receive alertmanager"]),
        ("dedupe", &["normalize"]),
        ("incident opened", &["dedupe"]),
        ("agent triage", &["incident opened"]),
        ("agent log analyst", &["incident opened"]),
        ("agent metric correlator", &["incident opened"]),
        ("agent fixer", &["incident opened"]),
        ("agent postmortem writer", &["incident opened"]),
        ("remediation proposed", &["incident opened"]),
        ("remediation decided", &["remediation proposed"]),
        ("remediation granted", &["remediation proposed"]),
        ("remediation attempted", &["remediation proposed"]),
        ("remediation executed", &["remediation proposed"]),
        ("remediation verified", &["remediation proposed"]),
        ("incident closed", &["incident"]),
        ("deliver", &["notify"]),
    ];
    let mut found = BTreeMap::new();
    let spans = wait_for("the whole trace", PATIENCE, || {
        let spans = collector.heard.by_id(&trace);
        let now = parents(&spans);
        let whole = expected.iter().all(|(name, _)| now.contains_key(*name))
            && now.keys().any(|name| name.starts_with("tool "))
            && spans
                .values()
                .any(|span| span.attribute("aegis.event") == Some("closed"));
        if now != found {
            eprintln!("{now:#?}");
            found = now;
        }
        whole.then_some(spans)
    });
    for (name, above) in expected {
        let above: BTreeSet<String> = above.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(found[*name], above, "{name}");
    }
    assert!(
        found.values().flatten().all(|above| above != "?"),
        "no span hangs in the air: {found:#?}"
    );
    let under: BTreeSet<&str> = found["notify"].iter().map(String::as_str).collect();
    assert!(
        under.contains("incident opened") && under.contains("remediation proposed"),
        "{under:?}"
    );
    for (name, above) in &found {
        if name.starts_with("tool ") {
            assert!(
                above.iter().all(|above| above.starts_with("agent ")),
                "{name}: {above:?}"
            );
        }
    }
    // What was sent before the death was sent again, as the same spans; nothing stands under two ids.
    let all = collector.heard.spans(&trace);
    // Of what is tried again (a step, a delivery) the second try took its own time.
    let tried = |span: &&Span| {
        ["agent", "tool", "deliver", "remediation"]
            .iter()
            .any(|what| span.text("name").starts_with(what))
    };
    for span in all.iter().filter(|span| !tried(span)) {
        assert_eq!(spans[span.text("spanId")], *span, "what is told again is the same");
    }
    let mut things = BTreeSet::new();
    // An agent may ask the same twice.
    for span in spans.values().filter(|span| !span.text("name").starts_with("tool")) {
        let thing = (
            span.text("name"),
            span.0["attributes"].to_string(),
            span.text("parentSpanId"),
        );
        assert!(things.insert(thing), "under two ids: {span:?}");
    }
    let received = spans
        .values()
        .find(|span| span.text("name") == "receive alertmanager")
        .unwrap();
    assert_eq!(received.0["links"][0]["traceId"], "0af7651916cd43dd8448eb211c80319c");

    // Others are told whose trace it is: the cluster by the agents and the executor, Slack by the notifier.
    let state = site.world.state();
    for system in [System::Kubernetes, System::Slack] {
        let asked = state.requests.iter().filter(|seen| seen.system == system);
        let told = asked.filter_map(|seen| seen.header("traceparent"));
        assert!(
            told.clone().any(|header| header.starts_with(&format!("00-{trace}-"))),
            "{system:?}"
        );
    }
    let patch = state
        .requests
        .iter()
        .filter(|seen| seen.method == "PATCH" && !seen.uri.contains("dryRun"));
    let attempted = spans
        .iter()
        .find(|(_, span)| span.text("name") == "remediation attempted")
        .unwrap()
        .0;
    let header = format!("00-{trace}-{attempted}-01");
    assert_eq!(
        patch.filter_map(|seen| seen.header("traceparent")).collect::<Vec<_>>(),
        [header]
    );
    drop(state);

    // The command line and the API show it; a request to the API is a span of its caller's trace.
    let (code, out, _) = site.aegis.run(&["incidents", id, "--json"]);
    assert_eq!(
        (code, serde_json::from_str::<Value>(&out).unwrap()["trace_id"].as_str()),
        (0, Some(trace.as_str()))
    );
    let (_, out, _) = site.aegis.run(&["incidents", id]);
    assert!(out.contains(&trace), "{out}");
    let headers = format!("traceparent: {READER}\r\nAuthorization: Bearer api-{SECRET}-token-of-ann-00000000\r\n");
    let path = format!("/api/v1/incidents/{id}?q={SECRET}");
    let (status, body) = http(site.aegis.gateway, "GET", &path, &headers, "").expect("an answer");
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap()["incident"]["trace_id"],
        trace.as_str()
    );
    let request = wait_for("the request's span", PATIENCE, || {
        collector.heard.spans("11111111111111111111111111111111").pop()
    });
    assert_eq!(request.text("name"), "GET /api/v1/incidents/{id}");
    assert_eq!(request.text("parentSpanId"), "2222222222222222");
    let stranger = format!("traceparent: {READER}\r\nAuthorization: Bearer wrong-{SECRET}\r\n");
    assert_eq!(
        http(site.aegis.gateway, "GET", "/api/v1/incidents", &stranger, "")
            .unwrap()
            .0,
        401
    );

    // Log lines: on standard error and at the collector, with the trace and the incident.
    wait_for("lines at the collector", PATIENCE, || {
        let logs = collector.heard.logs();
        let about = |text: &str, trace: &str| {
            logs.iter()
                .any(|line| line["body"]["stringValue"] == text && line["traceId"] == trace)
        };
        let stranger = about(
            "caller without a valid token or session refused",
            "11111111111111111111111111111111",
        );
        (stranger && about("step ended", &trace) && about("notification sent", &trace)).then_some(())
    });
    let lines = site.aegis.program.as_ref().unwrap().log();
    let line = lines
        .lines()
        .find(|line| line.contains("notification sent"))
        .expect("a line");
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    assert_eq!((&line["trace_id"], &line["incident"]), (&json!(trace), &json!(id)));
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16));

    metrics_of_the_rules_are_there(&site);

    let said = [collector.heard.raw(), first_life, lines].concat();
    assert!(said.contains("[redacted]"), "the title had a secret");
    if let Some(at) = said.find(SECRET) {
        panic!("a secret: {}", &said[at.saturating_sub(300)..said.len().min(at + 100)]);
    }
    assert_eq!(site.aegis.program.take().unwrap().terminate(), Some(0));
}

/// Each metric that the shipped rules name is one that this program shows, once there was cause for it.
fn metrics_of_the_rules_are_there(site: &Site) {
    // Refused by normalize: too large.
    let mut large = site.firing();
    large["alerts"][0]["annotations"]["summary"] = json!("x".repeat(30_000));
    large["alerts"][0]["fingerprint"] = json!("00000000000000bb");
    site.post("/webhooks/alertmanager", &large);
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboards/compose/aegis.rules.yml");
    let rules = std::fs::read_to_string(rules).unwrap();
    let rules: String = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    let words = rules.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c)));
    // Recorded ones have a colon and come of the others.
    let named: BTreeSet<&str> = words
        .filter(|word| word.starts_with("aegis_") && !word.contains(':'))
        .collect();
    assert!(named.len() > 12, "{named:?}");
    let mut missing = BTreeSet::new();
    let shown = || {
        let (_, text) = http_get(site.aegis.gateway, "/metrics")?;
        let shown: BTreeSet<&str> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
        missing = named
            .iter()
            .filter(|name| !shown.contains(**name))
            .map(|name| (*name).to_owned())
            .collect();
        missing.is_empty().then_some(())
    };
    let until = std::time::Instant::now() + PATIENCE;
    let mut shown = shown;
    while shown().is_none() {
        assert!(std::time::Instant::now() < until, "not on /metrics");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    // Labels that rules choose by.
    let (_, text) = http_get(site.aegis.gateway, "/metrics").unwrap();
    for label in [
        "aegis_stage_records_total{stage=\"dedupe\",direction=\"in\"}",
        "aegis_notify_total{receiver=\"gone\",outcome=\"undelivered\"}",
    ] {
        assert!(text.contains(label), "{label} is not in\n{text}");
    }
}

/// Posts the `n`th alert and waits for its incident; the incident's trace.
fn incident(aegis: &Aegis, n: usize) -> String {
    let json = "Content-Type: application/json\r\n";
    let sent = http(aegis.dispatcher, "POST", "/webhooks/alertmanager", json, &alert(n));
    assert!(
        sent.is_some_and(|(status, _)| (200..300).contains(&status)),
        "alert {n}"
    );
    let query = format!("select id from incidents where service = 's{n}'");
    let id = wait_for(&format!("incident {n}"), PATIENCE, || aegis.sql(&query).pop());
    id["id"].as_str().unwrap().replace('-', "")
}

#[test]
fn a_collector_that_is_gone_or_stands_still_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut collector) = Collector::start(&folder.path().join("collector")) else {
        return;
    };
    let short = "timeout = \"500ms\"\nretry_for = \"3s\"\nqueue = 64\n";
    let mut aegis = Aegis::new(folder.path(), &telemetry(&collector, short));
    aegis.start();
    let arrives = |collector: &Collector, trace: &str| {
        wait_for(&format!("trace {trace}"), PATIENCE, || {
            let spans = collector.heard.spans(trace);
            spans
                .iter()
                .any(|span| span.text("name") == "incident opened")
                .then_some(())
        });
    };
    let trace = incident(&aegis, 1);
    arrives(&collector, &trace);

    let mut n = 1;
    for outage in ["stands still", "is gone"] {
        match outage {
            "is gone" => collector.kill(),
            _ => collector.freeze(),
        }
        let dropped = "aegis_telemetry_dropped_total{signal=\"traces\",reason=\"undelivered\"}";
        let before = aegis.metric(dropped);
        incident(&aegis, n + 1);
        wait_for(&format!("drops while it {outage}"), PATIENCE, || {
            (aegis.metric(dropped) > before).then_some(())
        });
        // Everything else goes on, and says that it does.
        incident(&aegis, n + 2);
        let (status, said) = http_get(aegis.gateway, "/readyz").expect("an answer");
        assert_eq!(status, 200, "{said}");
        match outage {
            "is gone" => collector.revive(),
            _ => collector.thaw(),
        }
        let again = incident(&aegis, n + 3);
        arrives(&collector, &again);
        n += 3;
    }
    // The end does not wait for it, and what it did not take is told at the next start.
    assert_eq!(aegis.program.take().unwrap().terminate(), Some(0));
    aegis.set_env("AEGIS_TELEMETRY__RETRY_FOR", Some("10m"));
    aegis.start();
    collector.kill();
    let last = incident(&aegis, n + 1);
    assert_eq!(aegis.program.take().unwrap().terminate(), Some(0));
    collector.revive();
    aegis.start();
    arrives(&collector, &last);
    assert_eq!(aegis.run(&["audit", "conservation"]).0, 0);
}
