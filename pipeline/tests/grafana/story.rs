//! A site to which enough has happened that every panel has something to show: the recorded storm, deployments, memory that runs out
//! and is restarted by a rule, log lines, and what was refused.

use std::io::{Read as _, Write as _};

use pipeline::demo::Storm;
use serde_json::{Value, json};
use stream::Instant;

use super::board::{list, text};
use super::support::site::{ALLOW, PATIENCE, Site};
use super::support::{http, wait_for};

const JSON: &str = "Content-Type: application/json\r\n";

/// Runs over the store at `url`; all that it was told stands in the tables.
pub fn told(url: &str, started: impl FnOnce(&Site)) -> Site {
    let extra = format!("[store]\nurl = \"{url}\"\n");
    let mut site = Site::prepared(ALLOW, |_| extra, |_| {});
    site.aegis.set_env("AEGIS_DATA__SNAPSHOT_EVERY", Some("2s"));
    site.aegis.start();
    started(&site);

    let now = chrono::Utc::now();
    deployed(&site, "checkout", now - chrono::Duration::minutes(35));
    for body in Storm::ending_at(Instant(now.timestamp_micros())).bodies {
        let body: Value = serde_json::from_slice(&body).expect("the recording");
        site.post("/webhooks/alertmanager", &body);
    }
    wait_for("the storm's incidents", PATIENCE, || {
        (site.aegis.incidents().len() >= 4).then_some(())
    });

    deployed(&site, "api-server", now - chrono::Duration::minutes(10));
    site.log_oom();
    site.alert();
    refused(&site);
    site.remediation("verified");
    site.incident("the end of it", |row| row["status"] == "resolved");
    settled(&site);
    site
}

/// One more notification: whatever counts or times the doors rises.
pub fn again(site: &Site) {
    let storm = Storm::ending_at(Instant(chrono::Utc::now().timestamp_micros()));
    let body = storm.bodies.first().expect("the recording has a first body");
    site.post(
        "/webhooks/alertmanager",
        &serde_json::from_slice(body).expect("the recording"),
    );
}

fn deployed(site: &Site, service: &str, at: chrono::DateTime<chrono::Utc>) {
    let event = json!({"specversion": "1.0", "id": format!("deploy-{service}"), "source": "https://ci.example", "type": "com.example.deploy",
        "time": at.to_rfc3339(), "data": {"kind": "change", "title": format!("Deployment of {service}"), "service": service,
        "environment": "production"}});
    let headers = "Content-Type: application/cloudevents+json\r\n";
    let answer = http(
        site.aegis.dispatcher,
        "POST",
        "/webhooks/events",
        headers,
        &event.to_string(),
    );
    let (status, said) = answer.expect("an answer");
    assert!((200..300).contains(&status), "{status} {said}");
}

/// A body that no door takes, and an event that becomes a dead letter.
fn refused(site: &Site) {
    let port = site.aegis.dispatcher;
    let (status, _) = http(port, "POST", "/webhooks/alertmanager", JSON, "{").expect("an answer");
    assert_eq!(status, 400);
    let event = json!({"specversion": "1.0", "id": "odd", "source": "https://ci.example", "type": "com.example.odd",
        "data": {"kind": "change", "title": "of no time", "service": "checkout", "starts_at": "yesterday"}});
    let headers = "Content-Type: application/cloudevents+json\r\n";
    let (status, said) = http(port, "POST", "/webhooks/events", headers, &event.to_string()).expect("an answer");
    assert!((200..300).contains(&status), "{status} {said}");
    wait_for("the dead letter", PATIENCE, || {
        (!site.aegis.sql("select stage from dead_letters").is_empty()).then_some(())
    });
}

/// Until every stage and sink has read everything, several times in a row; but for the books, which never end.
fn settled(site: &Site) {
    let mut calm = 0;
    wait_for("the tables to have it all", PATIENCE, || {
        let (_, metrics) = super::support::http_get(site.aegis.gateway, "/metrics")?;
        let lags = metrics.lines().filter(|line| {
            let lag = line.starts_with("aegis_stage_lag{") || line.starts_with("aegis_sink_lag{");
            lag && !line.contains("partition=\"accounting/")
        });
        let behind = lags.filter(|line| !line.ends_with(" 0")).count();
        calm = if behind == 0 { calm + 1 } else { 0 };
        (calm >= 5).then_some(())
    });
}

/// What a Prometheus answers to `query`: the values that it has, over all series. `None` before there are any.
pub fn samples(port: u16, query: &str, instant: bool) -> Option<usize> {
    let now = chrono::Utc::now().timestamp();
    let path = if instant {
        format!("/api/v1/query?query={}&time={now}", escaped(query))
    } else {
        let from = now - 300;
        format!(
            "/api/v1/query_range?query={}&start={from}&end={now}&step=5",
            escaped(query)
        )
    };
    let body = get(port, &path)?;
    let answer: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{query}: {e}: {body}"));
    assert_eq!(text(&answer, "status"), "success", "{query}: {answer}");
    let series = list(&answer["data"]["result"]).iter();
    let values = series.flat_map(|one| {
        let several = list(&one["values"]).iter();
        several.chain(one.get("value")).filter_map(|pair| pair[1].as_str())
    });
    let there = values
        .filter(|value| value.parse::<f64>().is_ok_and(f64::is_finite))
        .count();
    (there > 0).then_some(there)
}

/// The body of an answer over HTTP/1.0, which does not come in chunks.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
