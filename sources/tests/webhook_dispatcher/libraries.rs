//! Over real TCP, what the senders' own libraries send: the CloudEvents SDK, OpenTelemetry's SDK, Slack's Bolt.

use std::process::Command;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use model::LogBatch;
use sources::webhook::{WebhookSettings, WebhookSource, slack};
use stream::Source;
use tokio_util::sync::CancellationToken;

use super::logs::{logs_ingress, records};
use super::support::{FaultyLog, ingress, within};

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
        ..Default::default()
    };
    settings.slack.signing_secrets = vec![SECRET.into()];
    let asked = Arc::new(Nobody(Mutex::default()));
    let source = WebhookSource::bind(settings).await.unwrap();
    let source = source.with_logs(logs_ingress(&log).await).with_answers(asked.clone());
    let (address, stop) = (source.local_addr(), CancellationToken::new());
    let running = tokio::spawn(Box::new(source).run(ingress(&log, 64 << 20).await, stop.clone()));

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/webhook_dispatcher/send.mjs");
    let base = format!("http://{address}");
    let node = move || Command::new("node").args([script, &modules, &base, SECRET]).output();
    let output = tokio::task::spawn_blocking(node).await.unwrap().expect("node");
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = [
        "cloudevents binary true",
        "cloudevents structured true",
        "cloudevents batch true",
        "otlp http none true",
        "otlp proto none true",
        "otlp proto gzip true",
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
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines.iter().all(|line| line.starts_with("division by zero")),
        "{lines:?}"
    );
    assert_eq!(*asked.0.lock().unwrap(), 0);
    stop.cancel();
    within(running).await.unwrap().unwrap();
}
