//! Over real TCP, what the senders' own libraries send: the CloudEvents SDK, OpenTelemetry's SDK, Slack's Bolt.

use std::process::Command;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::LogBatch;
use sources::webhook::{WebhookSettings, WebhookSource, slack};
use stream::Source;
use tokio_util::sync::CancellationToken;

use super::logs::{logs_ingress, records};
use super::support::{Append, FaultyLog, ingress, within};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// Nobody presses a button of ours here.
struct Nobody(Mutex<u32>);

#[async_trait]
impl slack::Answers for Nobody {
    async fn answer(&self, _: slack::Click) -> String {
        *self.0.lock().unwrap() += 1;
        String::new()
    }

    async fn command(&self, _: slack::Command) -> String {
        *self.0.lock().unwrap() += 1;
        String::new()
    }

    async fn tell(&self, _: String, _: String) {
        *self.0.lock().unwrap() += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_senders_own_libraries_are_understood() {
    let Ok(modules) = std::env::var("AEGIS_TEST_NODE_MODULES") else {
        assert!(
            std::env::var("AEGIS_TEST_REQUIRE").is_err(),
            "AEGIS_TEST_NODE_MODULES is not set: scripts/services/samples.sh"
        );
        eprintln!("not run: AEGIS_TEST_NODE_MODULES is not set");
        return;
    };
    let log = FaultyLog::new([]);
    let mut settings = WebhookSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        otlp_grpc_listen: Some(([127, 0, 0, 1], 0).into()),
        ..Default::default()
    };
    settings.slack.signing_secrets = vec![SECRET.into()];
    let asked = Arc::new(Nobody(Mutex::default()));
    let source = WebhookSource::bind(settings).await.unwrap();
    let source = source.with_logs(logs_ingress(&log).await).with_answers(asked.clone());
    let (address, grpc, stop) = (
        source.local_addr(),
        source.grpc_addr().unwrap(),
        CancellationToken::new(),
    );
    let running = tokio::spawn(Box::new(source).run(ingress(&log, 64 << 20).await, stop.clone()));

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/webhook_dispatcher/send.mjs");
    let (base, grpc) = (format!("http://{address}"), format!("http://{grpc}"));
    let node = move || {
        Command::new("node")
            .args([script, &modules, &base, SECRET, &grpc])
            .output()
    };
    let output = tokio::task::spawn_blocking(node).await.unwrap().expect("node");
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = [
        "cloudevents binary true",
        "cloudevents structured true",
        "cloudevents batch true",
        "otlp http none true",
        "otlp proto none true",
        "otlp proto gzip true",
        "otlp grpc none true",
        "otlp grpc gzip true",
        "slack genuine true 200",
        "slack altered false 401",
        "slack stale false 401",
    ];
    let found: Vec<&str> = said.lines().collect();
    assert_eq!(found, expected, "{}", String::from_utf8_lossy(&output.stderr));

    let stored = log.events().await;
    assert_eq!(stored.len(), 3, "{stored:?}");
    let lines: Vec<String> = records(&log)
        .await
        .iter()
        .flat_map(|record| serde_json::from_slice::<LogBatch>(&record.value).unwrap().lines)
        .map(|line| line.text)
        .collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(
        lines.iter().all(|line| line.starts_with("division by zero")),
        "{lines:?}"
    );
    assert_eq!(*asked.0.lock().unwrap(), 0);
    stop.cancel();
    within(running).await.unwrap().unwrap();
}

/// Python's exporter sends again what UNAVAILABLE is said of, when the status says so, and gives up what it is a stranger for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exporter_sends_again_what_the_log_refused() {
    let Ok(python) = std::env::var("AEGIS_TEST_OTEL_PYTHON") else {
        assert!(
            std::env::var("AEGIS_TEST_REQUIRE").is_err(),
            "AEGIS_TEST_OTEL_PYTHON is not set: scripts/services/samples.sh"
        );
        eprintln!("not run: AEGIS_TEST_OTEL_PYTHON is not set");
        return;
    };
    // The first export is refused twice, once with its record written and the answer lost.
    let log = FaultyLog::new([Append::Refused, Append::AnswerLost]);
    let mut settings = WebhookSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        otlp_grpc_listen: Some(([127, 0, 0, 1], 0).into()),
        ..Default::default()
    };
    settings.otlp.tokens = vec!["t0".into()];
    let source = WebhookSource::bind(settings).await.unwrap();
    let source = source.with_logs(logs_ingress(&log).await);
    let (grpc, stop) = (source.grpc_addr().unwrap().to_string(), CancellationToken::new());
    let running = tokio::spawn(Box::new(source).run(ingress(&log, 64 << 20).await, stop.clone()));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/webhook_dispatcher/send.py");
    let run = move || Command::new(python).args([script, &grpc, "t0"]).output();
    let output = tokio::task::spawn_blocking(run).await.unwrap().expect("python");
    let (said, trouble) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let found: Vec<&str> = said.lines().collect();
    assert_eq!(
        found,
        ["plain SUCCESS", "gzip SUCCESS", "stranger FAILURE"],
        "{trouble}"
    );
    assert!(
        trouble.contains("UNAVAILABLE") && trouble.contains("UNAUTHENTICATED"),
        "{trouble}"
    );
    let mut stored: Vec<(String, Option<bytes::Bytes>)> = Vec::new();
    for record in records(&log).await {
        let batch: LogBatch = serde_json::from_slice(&record.value).unwrap();
        assert_eq!(
            (batch.service.as_str(), batch.environment.as_str()),
            ("checkout", "prod")
        );
        let delivery = record.header("aegis-delivery").cloned();
        stored.extend(batch.lines.into_iter().map(|line| (line.text, delivery.clone())));
    }
    stored.sort();
    let texts: Vec<&str> = stored.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "cannot price order gzip",
            "cannot price order plain",
            "cannot price order plain"
        ]
    );
    assert!(
        stored[1].1.is_some() && stored[1].1 == stored[2].1,
        "one delivery, which templates takes once"
    );
    stop.cancel();
    within(running).await.unwrap().unwrap();
}
