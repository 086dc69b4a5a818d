//! Log lines: what real clients send becomes lines, what is no log is refused with its place, and nothing is answered that is
//! not in the log.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use model::{Level, LogBatch, LogLine, topics};
use sources::logs::LogIntakeSettings;
use sources::webhook::{EndpointSettings, WebhookSettings, router};
use stream::Ingress;
use stream::log::{Log as _, Offset, Record, Retention, TopicPartition, TopicSpec};
use stream::time::ManualClock;

use super::support::{Answer, Append, FaultyLog, NOW, ingress, send};

const OTLP: &str = "/v1/logs";
const LOKI: &str = "/loki/api/v1/push";
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

pub fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/logs")
            .join(name),
    )
    .unwrap()
}

/// A dispatcher with the doors for logs, over `log`.
async fn app(log: &Arc<FaultyLog>, settings: &WebhookSettings) -> Router {
    let events = ingress(log, 64 << 20).await;
    let logs = logs_ingress(log).await;
    router(settings, events, Some(logs), Arc::new(ManualClock::at(NOW))).unwrap()
}

/// An entry to the topic `logs`.
pub async fn logs_ingress(log: &Arc<FaultyLog>) -> Ingress {
    let topic = TopicSpec {
        name: topics::LOGS.into(),
        partitions: 4,
        retention: Retention::default(),
    };
    log.ensure_topics(&[topic]).await.unwrap();
    Ingress::open(log.clone(), topics::LOGS, 64 << 20).await.unwrap()
}

/// Everything on `logs`.
pub async fn records(log: &Arc<FaultyLog>) -> Vec<Record> {
    let mut all = Vec::new();
    for partition in 0..4 {
        let partition = TopicPartition::new(topics::LOGS, partition);
        let end = log.inner.bounds(&partition).await.unwrap().end;
        let (mut reader, mut at) = (log.inner.reader(&partition, Offset(0)).await.unwrap(), Offset(0));
        while at < end {
            let (records, next) = reader.read(1000, Duration::from_secs(5)).await.unwrap();
            at = next;
            all.extend(records);
        }
    }
    all
}

async fn exchange(path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (Answer, Vec<LogBatch>) {
    exchange_with(&WebhookSettings::default(), path, headers, body).await
}

async fn exchange_with(
    settings: &WebhookSettings,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (Answer, Vec<LogBatch>) {
    let log = FaultyLog::new([]);
    let answer = send(&app(&log, settings).await, "POST", path, headers, body).await;
    let batches = records(&log)
        .await
        .iter()
        .map(|record| {
            let batch: LogBatch = serde_json::from_slice(&record.value).unwrap();
            assert_eq!(record.key.as_deref(), Some(batch.key().as_bytes()));
            assert_eq!(record.timestamp, NOW);
            batch
        })
        .collect();
    (answer, batches)
}

fn shown(lines: &[LogLine]) -> Vec<(Option<Level>, &str)> {
    lines.iter().map(|line| (line.level, line.text.as_str())).collect()
}

#[tokio::test]
async fn what_opentelemetry_sends() {
    let plain = exchange(OTLP, &[PROTOBUF], fixture("otlp-python.bin")).await;
    let zipped = exchange(
        OTLP,
        &[PROTOBUF, ("content-encoding", "gzip")],
        fixture("otlp-python.gz"),
    )
    .await;
    for (answer, batches) in [plain, zipped] {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "application/x-protobuf");
        let [batch] = &batches[..] else { panic!("{batches:?}") };
        assert_eq!(
            (
                batch.tenant.as_str(),
                batch.service.as_str(),
                batch.environment.as_str(),
                batch.namespace.as_deref()
            ),
            ("default", "checkout", "prod", Some("shop"))
        );
        assert_eq!(batch.labels["telemetry.sdk.language"], "python");
        assert_eq!(
            shown(&batch.lines),
            [
                (Some(Level::Info), "order 4711 accepted for customer ada"),
                (Some(Level::Warn), "queue is 91% full"),
                (Some(Level::Error), "cannot price order 4712"),
                (Some(Level::Fatal), "worker 7 out of memory: killed"),
            ]
        );
        let attributes = &batch.lines[0].attributes;
        assert_eq!(
            (attributes["order.id"].as_str(), attributes["retry"].as_str()),
            ("4711", "false")
        );
        assert_eq!(
            (attributes["amount"].as_str(), attributes["scope.name"].as_str()),
            ("12.5", "shop.orders")
        );
        assert!(batch.lines[2].attributes["exception.stacktrace"].contains("ZeroDivisionError"));
        assert!(
            batch
                .lines
                .iter()
                .all(|line| line.at.is_some_and(|at| at > 1_700_000_000_000_000))
        );
    }
}

#[tokio::test]
async fn what_clients_of_loki_send() {
    let (answer, batches) = exchange(LOKI, &[PROTOBUF], fixture("loki-winston.snappy")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    // A stream per level.
    let all: Vec<_> = batches.iter().flat_map(|batch| shown(&batch.lines)).collect();
    assert_eq!(
        all,
        [
            (Some(Level::Info), "order 4711 accepted for customer ada"),
            (Some(Level::Warn), "queue is 91% full"),
            (
                Some(Level::Error),
                "java.lang.OutOfMemoryError: Java heap space\n\tat shop.Cart.grow(Cart.java:42)\n\tat shop.Cart.add(Cart.java:17)"
            ),
        ]
    );
    assert!(
        batches
            .iter()
            .all(|batch| batch.service == "checkout" && batch.environment == "prod")
    );

    let (answer, batches) = exchange(LOKI, &[JSON, ("x-scope-orgid", "team-a")], fixture("loki-python.json")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(
        (batches[0].tenant.as_str(), batches[0].namespace.as_deref()),
        ("team-a", Some("shop"))
    );
    assert_eq!(
        shown(&batches[0].lines),
        [(Some(Level::Error), "cannot reach payments after 3 tries")]
    );
}

#[tokio::test]
async fn rows_of_a_trace_are_one_line() {
    let rows = [
        "panic: no",
        "goroutine 1 [running]:",
        "main.main()",
        "\t/x.go:5",
        "next",
    ];
    let values: Vec<[&str; 2]> = rows.iter().map(|row| ["1700000000000000000", row]).collect();
    let body = serde_json::json!({"streams": [{"stream": {"app": "s"}, "values": values}]}).to_string();
    let (_, batches) = exchange(LOKI, &[JSON], body).await;
    assert_eq!(
        shown(&batches[0].lines),
        [
            (None, "panic: no\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:5"),
            (None, "next")
        ]
    );
    assert_eq!(batches[0].lines[0].at, Some(1_700_000_000_000_000));
}

#[tokio::test]
async fn what_otlp_cannot_take_is_counted_and_the_rest_is_taken() {
    let body = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeLogs":[{"logRecords":[
        {"timeUnixNano":"1700000000000000000","severityNumber":9,"body":{"stringValue":"a"},"traceId":"0AF7651916CD43DD8448EB211C80319C"},
        {"timeUnixNano":"soon","body":{"stringValue":"b"}},
        {"timeUnixNano":1700000000000000000},
        {"observedTimeUnixNano":1700000001000000000,"body":{"kvlistValue":{"values":[{"key":"n","value":{"intValue":"7"}}]}},"unknown":1}
    ]}]}]}"#;
    let (answer, batches) = exchange(OTLP, &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::OK);
    let partial = &answer.body["partialSuccess"];
    assert_eq!(partial["rejectedLogRecords"], "2");
    assert_eq!(
        partial["errorMessage"],
        "/resourceLogs/0/scopeLogs/0/logRecords/1: \"soon\" is no time in nanoseconds"
    );
    assert_eq!(
        shown(&batches[0].lines),
        [(Some(Level::Info), "a"), (None, r#"{"n":7}"#)]
    );
    assert_eq!(
        batches[0].lines[0].trace_id.as_deref(),
        Some("0af7651916cd43dd8448eb211c80319c")
    );
    let (answer, batches) = exchange(OTLP, &[JSON], "{}").await;
    assert_eq!(
        (answer.status, answer.body, batches.len()),
        (StatusCode::OK, serde_json::json!({}), 0)
    );
}

#[tokio::test]
async fn what_is_no_log_is_refused_with_its_place() {
    let torn = &fixture("otlp-python.bin")[..700];
    let check = async |path, headers: &[(&str, &str)], body: &[u8], status: u16, place: &str| {
        let (answer, batches) = exchange(path, headers, body.to_vec()).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {place}: {answer:?}");
        assert_eq!(batches.len(), 0, "{path} {place}");
        let told = match answer.body["message"].as_str() {
            Some(message) => message.to_owned(),
            None => answer.body["place"].as_str().unwrap_or_default().to_owned(),
        };
        assert!(told.contains(place), "{place}: {told}");
    };
    check(OTLP, &[JSON], b"{", 400, "line 1 column 1").await;
    check(
        OTLP,
        &[JSON],
        br#"{"resourceLogs":[{"scopeLogs":7}]}"#,
        400,
        "/resourceLogs/0",
    )
    .await;
    check(OTLP, &[("content-type", "text/plain")], b"x", 415, "content-type").await;
    check(
        OTLP,
        &[JSON, ("content-encoding", "br")],
        b"{}",
        415,
        "content-encoding",
    )
    .await;
    check(LOKI, &[JSON], b"[]", 400, "line 1 column").await;
    check(
        LOKI,
        &[JSON],
        br#"{"streams":[{"stream":{},"values":[["1","a"],["soon","b"]]}]}"#,
        400,
        "/streams/0/values/1/0",
    )
    .await;
    check(
        LOKI,
        &[JSON],
        br#"{"streams":[{"stream":{},"values":[["1"]]}]}"#,
        400,
        "/streams/0/values/0",
    )
    .await;
    check(LOKI, &[JSON], br#"{"streams":[{"values":[]}]}"#, 400, "/streams/0").await;
    check(LOKI, &[PROTOBUF], b"rubbish", 400, "").await;
    check(LOKI, &[JSON, ("x-scope-orgid", "a/b")], b"{}", 400, "x-scope-orgid").await;
    let (answer, batches) = exchange(OTLP, &[PROTOBUF], torn.to_vec()).await;
    assert_eq!((answer.status, batches.len()), (StatusCode::BAD_REQUEST, 0));
    assert_eq!(answer.headers["content-type"], "application/x-protobuf");
}

#[tokio::test]
async fn sizes_are_bounded() {
    let small = WebhookSettings {
        max_body_bytes: 64 << 10,
        logs: LogIntakeSettings {
            max_lines: 3,
            ..LogIntakeSettings::default()
        },
        ..WebhookSettings::default()
    };
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 8 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 64 << 10);
    let (answer, _) = exchange_with(&small, OTLP, &[JSON, ("content-encoding", "gzip")], bomb).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 1 << 20]).unwrap();
    let (answer, _) = exchange_with(&small, LOKI, &[PROTOBUF], bomb).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let many = br#"{"streams":[{"stream":{},"values":[["1","a"],["1","b"],["1","c"],["1","d"]]}]}"#;
    let (answer, batches) = exchange_with(&small, LOKI, &[JSON], many.to_vec()).await;
    assert_eq!((answer.status, batches.len()), (StatusCode::PAYLOAD_TOO_LARGE, 0));
    // A thousand empty records in two thousand bytes.
    let record = [0x12, 0];
    let scope = record.repeat(1_000);
    let block =
        |tag: u8, content: &[u8]| [&[tag, content.len() as u8 | 0x80, (content.len() >> 7) as u8], content].concat();
    let body = block(0x0a, &block(0x12, &scope));
    let (answer, _) = exchange_with(&small, OTLP, &[PROTOBUF], body).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_stored_and_what_is_sent_again_can_be_told() {
    let body =
        r#"{"streams":[{"stream":{"app":"a"},"values":[["1","x"]]},{"stream":{"app":"b"},"values":[["2","y"]]}]}"#;
    let log = FaultyLog::new([Append::Writes, Append::AnswerLost]);
    let app = app(&log, &WebhookSettings::default()).await;
    let answer = send(&app, "POST", LOKI, &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    let answer = send(&app, "POST", LOKI, &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let stored = records(&log).await;
    let mut deliveries: Vec<String> = stored
        .iter()
        .map(|record| String::from_utf8_lossy(record.header("aegis-delivery").unwrap()).into_owned())
        .collect();
    deliveries.sort();
    assert_eq!(deliveries.len(), 4);
    assert_eq!((&deliveries[0], &deliveries[2]), (&deliveries[1], &deliveries[3]));
    assert_ne!(deliveries[0], deliveries[2]);
    // Lines without a time of their own: the same bytes may be other lines.
    let untimed = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]}"#;
    let answer = send(&app, "POST", OTLP, &[JSON], untimed).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(
        records(&log)
            .await
            .iter()
            .any(|record| record.header("aegis-delivery").is_none())
    );
}

#[tokio::test]
async fn a_log_that_fails_is_503_to_otlp_in_its_own_words() {
    let log = FaultyLog::new([Append::Refused]);
    let app = app(&log, &WebhookSettings::default()).await;
    let body = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"a"}}]}]}]}"#;
    let answer = send(&app, "POST", OTLP, &[JSON], body).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer.body,
        serde_json::json!({"code": 14, "message": "the lines could not be stored"})
    );
    assert_eq!(answer.headers["retry-after"], "5");
}

#[tokio::test]
async fn tokens_and_redaction() {
    let settings = WebhookSettings {
        loki: EndpointSettings {
            tokens: vec!["t0".into()],
            ..EndpointSettings::default()
        },
        redact_fields: vec!["Password".into()],
        ..WebhookSettings::default()
    };
    let body = r#"{"streams":[{"stream":{"app":"a","password":"p"},"values":[["1","x",{"password":"q","n":"1"}]]}]}"#;
    let (answer, batches) = exchange_with(&settings, LOKI, &[JSON], body).await;
    assert_eq!((answer.status, batches.len()), (StatusCode::UNAUTHORIZED, 0));
    let (answer, batches) = exchange_with(&settings, LOKI, &[JSON, ("authorization", "Bearer t0")], body).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(batches[0].labels["password"], "[redacted]");
    assert_eq!(batches[0].lines[0].attributes["password"], "[redacted]");
    assert_eq!(batches[0].lines[0].attributes["n"], "1");
}
