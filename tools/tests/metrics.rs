//! The metric tool on a real Prometheus, which scrapes the world: what the twin cannot evaluate, and what a restart does to it.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use chrono::{TimeDelta, Utc};
use serde_json::json;
use support::{bench, required, restart, until};
use tools::ToolError;
use tools::observe::{Metrics, RuleKind, RuleQuery, TargetQuery};
use tools::prometheus::Prometheus;
use world::Scenario;

/// Killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const RULES: &str = r#"
groups:
  - name: test
    interval: 1s
    rules:
      - alert: MemoryAlmostFull
        expr: max by (namespace, container) (container_memory_working_set_bytes / container_spec_memory_limit_bytes) > 0.9
        labels: {severity: critical}
      - record: container:memory:ratio
        expr: max by (container) (container_memory_working_set_bytes / container_spec_memory_limit_bytes)
      - alert: CannotBeEvaluated
        expr: container_memory_working_set_bytes * on(namespace) container_spec_memory_limit_bytes > 0
        for: 30s
"#;

/// A Prometheus that scrapes `target` every second, and its address.
fn prometheus(program: &str, folder: &Path, target: &str) -> (Server, String) {
    std::fs::write(folder.join("rules.yml"), RULES).unwrap();
    let config = json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [folder.join("rules.yml")],
        "scrape_configs": [
            {"job_name": "world", "static_configs": [{"targets": [target]}]},
            // Nobody listens on the discard port.
            {"job_name": "gone", "static_configs": [{"targets": ["127.0.0.1:9"]}]},
        ],
    });
    // JSON is YAML.
    std::fs::write(folder.join("prometheus.yml"), config.to_string()).unwrap();
    let port = world::free_port().unwrap();
    let log = std::fs::File::create(folder.join("prometheus.log")).unwrap();
    let child = Command::new(program)
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|fault| panic!("cannot start {program}: {fault}"));
    (Server(child), format!("http://127.0.0.1:{port}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_a_real_prometheus_falls_when_the_pods_are_replaced() {
    let Some(program) = required("AEGIS_TEST_PROMETHEUS_BIN") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(Scenario::fast()).await;
    let (_server, url) = prometheus(&program, folder.path(), &bench.running.address().to_string());
    let settings = serde_json::from_value(json!({"url": url})).unwrap();
    let metrics = Prometheus::new(&settings).unwrap();

    let used = r#"max(container_memory_working_set_bytes{container="api-server"} / container_spec_memory_limit_bytes{container="api-server"})"#;
    let value = async |expression: &str| {
        let found = metrics.instant(expression, Utc::now()).await.ok()?;
        Some(found.first()?.points.first()?.value)
    };
    let full = until("the first scrape", async || value(used).await).await;
    assert!(full > 0.9, "{full}");
    let alert = until("the alert", async || {
        let alerts = metrics.alerts().await.ok()?;
        alerts.into_iter().find(|alert| alert.state == "firing")
    })
    .await;
    assert_eq!(alert.labels["alertname"], "MemoryAlmostFull");
    assert_eq!(alert.labels["container"], "api-server");
    assert!(alert.active_at.is_some());

    rules_and_targets(&metrics).await;

    let failing = r#"sum(rate(http_requests_total{service="api-server",status="500"}[15s]))"#;
    until("failing requests", async || {
        value(failing).await.filter(|rate| *rate > 0.0)
    })
    .await;

    let began = Utc::now();
    bench.act.execute(bench.approved(&restart()).await).await.unwrap();
    until("the memory to fall", async || {
        value(used).await.filter(|used| *used < 0.5)
    })
    .await;
    until("the alert to end", async || {
        let alerts = metrics.alerts().await.ok()?;
        alerts.is_empty().then_some(())
    })
    .await;

    let range = metrics
        .range(used, began - TimeDelta::seconds(5), Utc::now(), TimeDelta::seconds(1))
        .await
        .unwrap();
    let values: Vec<f64> = range[0].points.iter().map(|point| point.value).collect();
    let falls = values.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(falls >= 1 && values.last() < values.first(), "{values:?}");

    let failure = metrics.instant("sum(", Utc::now()).await.unwrap_err();
    assert!(matches!(failure, ToolError::Refused { .. }), "{failure:?}");
    assert!(failure.to_string().contains("parse error"), "{failure}");
    assert_eq!(metrics.instant("none_of_this_name", Utc::now()).await.unwrap(), []);
    let unknown = metrics.instant("0/0", Utc::now()).await.unwrap();
    assert!(unknown[0].points.is_empty(), "{unknown:?}");
}

async fn rules_and_targets(metrics: &Prometheus) {
    let rules = async |name: Option<&str>, kind: Option<RuleKind>| {
        let query = RuleQuery {
            name: name.map(str::to_owned),
            kind,
        };
        metrics.rules(&query).await.unwrap().rules
    };
    let firing = &rules(Some("MemoryAlmostFull"), Some(RuleKind::Alerting)).await[0];
    assert_eq!(
        (firing.state.as_deref(), firing.health.as_str(), firing.active > 0),
        (Some("firing"), "ok", true)
    );
    assert_eq!(
        (firing.group.as_str(), firing.labels["severity"].as_str()),
        ("test", "critical")
    );
    assert!(
        firing.expression.contains("> 0.9") && firing.evaluated_at.is_some(),
        "{firing:?}"
    );
    let recorded = rules(None, Some(RuleKind::Recording)).await;
    assert_eq!(
        (recorded.len(), recorded[0].name.as_str()),
        (1, "container:memory:ratio")
    );
    let broken = until("the rule that cannot be evaluated", async || {
        let found = rules(Some("CannotBeEvaluated"), None).await;
        found.into_iter().find(|rule| rule.health == "err")
    })
    .await;
    assert!(broken.for_s == 30.0 && broken.last_error.is_some(), "{broken:?}");
    assert_eq!(rules(Some("NoSuchRule"), None).await, []);

    let targets = async |job: Option<&str>, broken: bool| {
        let job = job.map(str::to_owned);
        metrics.targets(&TargetQuery { job, broken }).await.unwrap()
    };
    let gone = until("a scrape that fails", async || {
        let found = targets(Some("gone"), true).await;
        (found.down == 1).then_some(found)
    })
    .await;
    assert_eq!((gone.up, gone.targets[0].instance.as_str()), (0, "127.0.0.1:9"));
    assert!(
        gone.targets[0].last_error.is_some() && gone.targets[0].scraped_at.is_some(),
        "{gone:?}"
    );
    let all = targets(None, false).await;
    assert_eq!(
        (all.targets.len(), all.up, all.targets[1].job.as_str()),
        (2, 1, "world")
    );
}

/// Captured from a real Prometheus.
#[tokio::test]
async fn captured_answers() {
    let world = world::World::new(Scenario::fast());
    let running = world.start(support::LOOPBACK).await.unwrap();
    let settings = support::settings(&running.url()).prometheus;
    let metrics = Prometheus::new(&settings).unwrap();
    let answer = |body: &str| {
        world.heal();
        world.fail(world::Fault::new(world::System::Prometheus, world::FaultKind::Error).answer(200, body));
    };
    answer(include_str!("fixtures/prometheus/query_up.json"));
    let up = metrics.instant("up", Utc::now()).await.unwrap();
    assert_eq!(up.len(), 3);
    assert_eq!(up[0].labels["job"], "prometheus");
    assert_eq!(
        (up[0].points[0].at.timestamp_millis(), up[0].points[0].value),
        (1_795_423_779_282, 1.0)
    );

    answer(include_str!("fixtures/prometheus/query_range.json"));
    let (from, to) = (Utc::now(), Utc::now());
    let ratio = metrics
        .range("demo_error_ratio", from, to, TimeDelta::seconds(5))
        .await
        .unwrap();
    assert_eq!((ratio.len(), ratio[0].points.len()), (3, 11));
    assert_eq!(ratio[0].points.last().unwrap().value, 0.5);
}
