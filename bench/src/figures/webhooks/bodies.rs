//! The requests, as their senders make them.

use std::net::SocketAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use hyper::body::Bytes;
use ring::hmac;
use serde_json::{Value, json};

/// Whose request.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Grafana's contact point, signed with this secret.
    Grafana(&'static str),
    /// Alertmanager's webhook.
    Webhook,
    /// What Prometheus posts to an Alertmanager.
    Api,
}

/// Different alerts; after that the same ones fire again.
const ALERTS: usize = 10_000;
const SERVICES: usize = 50;

/// One request as it goes over the wire, with the alerts `first..first + count` of an endless row.
pub fn request(kind: Kind, to: SocketAddr, first: usize, count: usize) -> anyhow::Result<Bytes> {
    let now = Utc::now();
    let alerts: Vec<Value> = (first..first + count).map(|nth| alert(kind, nth, now)).collect();
    let (path, body) = match kind {
        Kind::Grafana(_) => ("/webhooks/grafana", group("1", first, alerts)),
        Kind::Webhook => ("/webhooks/alertmanager", group("4", first, alerts)),
        Kind::Api => ("/api/v2/alerts", Value::Array(alerts)),
    };
    let body = body.to_string();
    let signature = match kind {
        Kind::Grafana(secret) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let digits: Vec<String> = hmac::sign(&key, body.as_bytes())
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("x-grafana-alerting-signature: {}\r\n", digits.concat())
        }
        Kind::Webhook | Kind::Api => String::new(),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\n{signature}content-length: {}\r\n\r\n",
        body.len()
    );
    Ok(Bytes::from(head + &body))
}

fn alert(kind: Kind, nth: usize, now: DateTime<Utc>) -> Value {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let which = nth % ALERTS;
    let mut alert = json!({
        "labels": {
            "alertname": format!("HighLatency{}", which % 20), "service": format!("service-{}", which % SERVICES),
            "instance": format!("10.0.{}.{}:9100", which / 250, which % 250), "severity": "warning", "namespace": "production",
        },
        "annotations": {
            "summary": format!("p99 latency of service-{} is over its bound", which % SERVICES),
            "description": format!("measured {} ms over five minutes", 500 + nth % 700),
        },
        "startsAt": time(now - chrono::Duration::seconds((nth / ALERTS) as i64)),
        "generatorURL": "http://prometheus:9090/graph?g0.expr=latency",
    });
    if !matches!(kind, Kind::Api) {
        alert["status"] = json!("firing");
        alert["endsAt"] = json!("0001-01-01T00:00:00Z");
        alert["fingerprint"] = json!(format!("{which:016x}"));
    }
    alert
}

fn group(version: &str, first: usize, alerts: Vec<Value>) -> Value {
    json!({
        "version": version, "groupKey": format!("{{}}:{{nth=\"{first}\"}}"), "truncatedAlerts": 0, "status": "firing",
        "receiver": "aegis", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://sender:9093", "alerts": alerts,
    })
}
