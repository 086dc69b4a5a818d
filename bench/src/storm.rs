//! The demo's storm: thirty minutes of Alertmanager notifications, as its webhook sends them (group snapshots, repeated
//! every minute, resolved alerts inside firing groups), with four overlapping incidents under steady noise.
//!
//! Deterministic: no randomness, no clock. Times count from [`EPOCH`]; `aegis demo` moves them to now.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

/// Start of the storm in the recording.
pub const EPOCH: &str = "2026-01-01T00:00:00Z";

/// An alert of the script: when it fires and when it ends, in seconds from the epoch.
struct Alert {
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    summary: String,
    from: i64,
    to: Option<i64>,
}

/// One Alertmanager group: notified `wait` seconds after its first alert, then whenever something changed, and every
/// `repeat` seconds.
struct Group {
    key: &'static str,
    alerts: Vec<Alert>,
}

fn alert(name: &'static str, severity: &str, service: &str, summary: String, from: i64, to: Option<i64>) -> Alert {
    let mut labels = vec![
        ("severity", severity.to_owned()),
        ("cluster", "eu-1".to_owned()),
        ("environment", "production".to_owned()),
    ];
    if !service.is_empty() {
        labels.push(("service", service.to_owned()));
        labels.push(("namespace", "shop".to_owned()));
    }
    Alert {
        name,
        labels,
        summary,
        from,
        to,
    }
}

impl Alert {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((name, value.into()));
        self
    }
}

fn script() -> Vec<Group> {
    let s = |text: &str| text.to_owned();
    let mut checkout = vec![
        alert(
            "HighErrorRate",
            "critical",
            "checkout",
            s("5xx ratio of checkout is 12 %"),
            300,
            Some(1260),
        ),
        alert(
            "HighLatency",
            "warning",
            "checkout",
            s("p99 of checkout is 4.2 s"),
            340,
            Some(1290),
        ),
        alert(
            "SLOBurnRateFast",
            "critical",
            "checkout",
            s("checkout burns 14 times its error budget"),
            420,
            Some(1320),
        ),
    ];
    for pod in 0..6i64 {
        let summary = format!("checkout-7d9f8b6c5-{pod} restarted 4 times in 5 minutes");
        checkout.push(
            alert(
                "PodCrashLooping",
                "warning",
                "checkout",
                summary,
                360 + 20 * pod,
                Some(1200 + 5 * pod),
            )
            .with("pod", format!("checkout-7d9f8b6c5-{pod}")),
        );
    }
    let database = vec![
        alert(
            "ReplicationLag",
            "warning",
            "orders-db",
            s("replica is 95 s behind"),
            480,
            Some(1500),
        ),
        alert(
            "ConnectionsExhausted",
            "critical",
            "orders-db",
            s("498 of 500 connections in use"),
            540,
            Some(1440),
        ),
        alert(
            "SlowQueries",
            "info",
            "orders-db",
            s("31 queries over 1 s per minute"),
            510,
            Some(1500),
        ),
        alert(
            "DiskWillFillIn4Hours",
            "warning",
            "orders-db",
            s("/var/lib/postgresql is 91 % full"),
            600,
            Some(1620),
        ),
    ];
    let mut rack = Vec::new();
    for node in 0..8i64 {
        let instance = format!("10.0.7.{}:9100", 10 + node);
        let down = alert(
            "InstanceDown",
            "critical",
            "",
            format!("{instance} does not answer"),
            700 + 3 * node,
            Some(1100 + 7 * node),
        );
        rack.push(down.with("instance", instance).with("aegis_group", "rack-7"));
        let name = format!("node-{}", 70 + node);
        let not_ready = alert(
            "KubeNodeNotReady",
            "warning",
            "",
            format!("{name} is not ready"),
            740 + 3 * node,
            Some(1130 + 7 * node),
        );
        rack.push(not_ready.with("node", name).with("aegis_group", "rack-7"));
    }
    let payments = vec![
        alert(
            "PaymentProviderErrors",
            "critical",
            "payments",
            s("provider answers 502 to 38 % of charges"),
            1380,
            None,
        ),
        alert(
            "QueueBacklog",
            "warning",
            "payments",
            s("12,400 charges wait"),
            1470,
            None,
        ),
        alert(
            "HighLatency",
            "warning",
            "payments",
            s("p99 of payments is 9.8 s"),
            1500,
            None,
        ),
    ];
    let mut throttling = Vec::new();
    for service in 0..40i64 {
        let name = format!("svc-{service:02}");
        // Each flaps: throttled for 2 minutes out of every 6.
        for cycle in 0..5i64 {
            let from = 30 + 9 * service + 360 * cycle;
            throttling.push(alert(
                "CPUThrottlingHigh",
                "info",
                &name,
                format!("{name} is throttled 31 % of the time"),
                from,
                Some(from + 120),
            ));
        }
    }
    let watchdog = vec![alert(
        "Watchdog",
        "none",
        "",
        s("Always firing: the alerting path is alive"),
        0,
        None,
    )];
    vec![
        Group {
            key: "{}:{alertname=\"Watchdog\"}",
            alerts: watchdog,
        },
        Group {
            key: "{}:{service=\"checkout\"}",
            alerts: checkout,
        },
        Group {
            key: "{}:{service=\"orders-db\"}",
            alerts: database,
        },
        Group {
            key: "{}:{rack=\"7\"}",
            alerts: rack,
        },
        Group {
            key: "{}:{service=\"payments\"}",
            alerts: payments,
        },
        Group {
            key: "{}:{alertname=\"CPUThrottlingHigh\"}",
            alerts: throttling,
        },
    ]
}

/// One line per notification, in order of sending: a capture with `received_at`, `headers`, `raw_body`.
pub fn lines() -> Vec<String> {
    let mut out: Vec<(i64, String)> = Vec::new();
    for group in script() {
        for at in (10..=1800).step_by(60) {
            // What Alertmanager would send at this tick: what fires, and what ended since the tick before.
            let shown: Vec<&Alert> = group
                .alerts
                .iter()
                .filter(|a| a.from <= at && a.to.is_none_or(|to| to > at - 60))
                .collect();
            if !shown.is_empty() {
                out.push((at, capture(&group, &shown, at)));
            }
        }
    }
    out.sort();
    out.into_iter().map(|(_, line)| line).collect()
}

fn capture(group: &Group, shown: &[&Alert], at: i64) -> String {
    let firing = |a: &Alert| a.to.is_none_or(|to| to > at);
    let alerts: Vec<Value> = shown.iter().map(|a| alert_json(a, firing(a))).collect();
    let status = if shown.iter().any(|a| firing(a)) {
        "firing"
    } else {
        "resolved"
    };
    let body = json!({
        "receiver": "aegis", "status": status, "alerts": alerts, "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093", "version": "4", "groupKey": group.key, "truncatedAlerts": 0,
    });
    let received = instant(at) + Duration::milliseconds(400);
    json!({
        "received_at": received.timestamp_millis() as f64 / 1000.0,
        "headers": [["Content-Type", "application/json"], ["User-Agent", "Alertmanager/0.25.0"]],
        "raw_body": body.to_string(),
    })
    .to_string()
}

fn alert_json(a: &Alert, firing: bool) -> Value {
    let mut labels: Map<String, Value> = a.labels.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
    labels.insert("alertname".into(), json!(a.name));
    let ends = match a.to {
        Some(to) if !firing => text(instant(to)),
        _ => "0001-01-01T00:00:00Z".to_owned(),
    };
    json!({
        "status": if firing { "firing" } else { "resolved" },
        "fingerprint": format!("{:016x}", fingerprint(&labels)),
        "labels": labels,
        "annotations": { "summary": a.summary },
        "startsAt": text(instant(a.from)),
        "endsAt": ends,
        "generatorURL": "http://prometheus.example:9090/graph",
    })
}

/// Prometheus' label fingerprint: FNV-1a 64 over the sorted pairs, each part closed by 0xff.
fn fingerprint(labels: &Map<String, Value>) -> u64 {
    let mut sorted: Vec<_> = labels.iter().collect();
    sorted.sort_by_key(|(name, _)| name.as_str());
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for (name, value) in sorted {
        for part in [name.as_str(), value.as_str().unwrap_or_default()] {
            for byte in part.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    hash
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(EPOCH)
        .map(|t| t.to_utc())
        .unwrap_or_default()
        + Duration::seconds(seconds)
}

fn text(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
