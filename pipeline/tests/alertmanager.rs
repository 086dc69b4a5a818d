//! The main job on real programs: pushgateway → Prometheus → Alertmanager → aegis, over the embedded log and real Kafka,
//! into SQLite and PostgreSQL. One rule fires, is repeated, resolves; a receiver is killed in between.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{Aegis, Program, database, free_port, http, http_get, required, wait_for};

const TOKEN: &str = "a-token-of-the-test";

struct Monitoring {
    pushgateway: u16,
    alertmanager: u16,
    _programs: Vec<Program>,
}

/// Starts the three programs; every port in `receivers` gets the webhook.
fn monitoring(folder: &Path, receivers: &[u16]) -> Option<Monitoring> {
    let prometheus_bin = required("AEGIS_TEST_PROMETHEUS_BIN")?;
    let alertmanager_bin = required("AEGIS_TEST_ALERTMANAGER_BIN")?;
    let pushgateway_bin = required("AEGIS_TEST_PUSHGATEWAY_BIN")?;
    let (pushgateway, alertmanager, prometheus) = (free_port(), free_port(), free_port());

    let hooks: String = receivers
        .iter()
        .map(|port| {
            format!(
                "      - url: http://127.0.0.1:{port}/webhooks/alertmanager\n        http_config:\n          authorization:\n            credentials: {TOKEN}\n"
            )
        })
        .collect();
    // Repeats as fast as Alertmanager allows, so that a test sees several.
    let config = format!(
        "route:\n  receiver: aegis\n  group_by: [alertname]\n  group_wait: 1s\n  group_interval: 1s\n  repeat_interval: 1s\nreceivers:\n  - name: aegis\n    webhook_configs:\n{hooks}"
    );
    std::fs::write(folder.join("alertmanager.yml"), config).unwrap();
    let rules = "groups:\n  - name: test\n    interval: 1s\n    rules:\n      - alert: HighErrorRate\n        expr: demo_error_ratio > 0.05\n        labels: {severity: critical}\n        annotations: {summary: 'errors at {{ $value }}'}\n";
    std::fs::write(folder.join("rules.yml"), rules).unwrap();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{0}/rules.yml]\nalerting:\n  alertmanagers:\n    - static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]\nscrape_configs:\n  - job_name: push\n    honor_labels: true\n    static_configs: [{{targets: ['127.0.0.1:{pushgateway}']}}]\n",
        folder.display()
    );
    std::fs::write(folder.join("prometheus.yml"), config).unwrap();

    let path = |name: &str| folder.join(name).display().to_string();
    let programs = vec![
        Program::start(
            "pushgateway",
            Command::new(pushgateway_bin).arg(format!("--web.listen-address=127.0.0.1:{pushgateway}")),
            folder,
        ),
        Program::start(
            "alertmanager",
            Command::new(alertmanager_bin).args([
                format!("--config.file={}", path("alertmanager.yml")),
                format!("--storage.path={}", path("alertmanager-data")),
                format!("--web.listen-address=127.0.0.1:{alertmanager}"),
                "--cluster.listen-address=".to_owned(),
            ]),
            folder,
        ),
        Program::start(
            "prometheus",
            Command::new(prometheus_bin).args([
                format!("--config.file={}", path("prometheus.yml")),
                format!("--storage.tsdb.path={}", path("prometheus-data")),
                format!("--web.listen-address=127.0.0.1:{prometheus}"),
            ]),
            folder,
        ),
    ];
    for (port, name) in [
        (pushgateway, "pushgateway"),
        (alertmanager, "alertmanager"),
        (prometheus, "prometheus"),
    ] {
        wait_for(name, Duration::from_secs(60), || {
            http_get(port, "/-/ready").filter(|(status, _)| *status == 200)
        });
    }
    Some(Monitoring {
        pushgateway,
        alertmanager,
        _programs: programs,
    })
}

impl Monitoring {
    /// Sets the error ratio of a service.
    fn push(&self, service: &str, ratio: f64) {
        let body = format!("demo_error_ratio{{service=\"{service}\"}} {ratio}\n");
        let (status, answer) = http(
            self.pushgateway,
            "POST",
            &format!("/metrics/job/demo/service/{service}"),
            "",
            &body,
        )
        .unwrap();
        assert!(status < 300, "{status} {answer}");
    }
}

fn tokens() -> String {
    format!("[dispatcher.alertmanager]\ntokens = [\"{TOKEN}\"]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_fires_and_resolves_over_both_logs_into_both_stores() {
    let (Some(kafka), Some(postgres)) = (required("AEGIS_TEST_KAFKA"), required("AEGIS_TEST_POSTGRES")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let mut all: Vec<(&str, Aegis)> = Vec::new();
    for (name, on_kafka, on_postgres) in [
        ("embedded-sqlite", false, false),
        ("embedded-postgres", false, true),
        ("kafka-sqlite", true, false),
        ("kafka-postgres", true, true),
    ] {
        let mut extra = tokens();
        if on_kafka {
            // Topics and groups of its own on the shared broker.
            extra += &format!(
                "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{unique}.{name}.\"\n[topics]\npartitions = 2\n"
            );
        }
        if on_postgres {
            let url = database(&postgres, "alertmanager_test").await;
            extra += &format!("[store]\nurl = \"{url}\"\n");
        }
        // Nobody takes the incidents up: their status is what the alerts say.
        extra += "[crew]\nenabled = false\n";
        let mut aegis = Aegis::new(&folder.path().join(name), &extra);
        aegis.start();
        all.push((name, aegis));
    }
    let ports: Vec<u16> = all.iter().map(|(_, aegis)| aegis.dispatcher).collect();
    let Some(monitoring) = monitoring(folder.path(), &ports) else {
        return;
    };

    monitoring.push("checkout", 0.4);
    let title = "HighErrorRate on checkout".to_owned();
    for (name, aegis) in &all {
        wait_for(&format!("the incident in {name}"), Duration::from_secs(90), || {
            Some(aegis.incidents()).filter(|rows| *rows == [(title.clone(), "open".to_owned())])
        });
    }
    // Alertmanager repeats every second; repeats are swallowed, not forwarded.
    for (name, aegis) in &all {
        wait_for(&format!("repeats in {name}"), Duration::from_secs(60), || {
            (aegis.metric("aegis_stage_items_total{stage=\"dedupe\",disposition=\"merged\"}") >= 3.0).then_some(())
        });
        assert_eq!(aegis.incidents(), [(title.clone(), "open".to_owned())], "{name}");
    }

    // A receiver dies; a second rule fires and the first resolves while it is away; Alertmanager tries again.
    let victim = &mut all[0].1;
    victim.kill();
    monitoring.push("cart", 0.3);
    monitoring.push("checkout", 0.01);
    wait_for("alertmanager to notice the outage", Duration::from_secs(60), || {
        let (_, metrics) = http_get(monitoring.alertmanager, "/metrics")?;
        let failed = metrics.lines().find(|line| {
            line.starts_with("alertmanager_notification_requests_failed_total{integration=\"webhook\"}")
        })?;
        (failed.rsplit(' ').next()?.parse::<f64>().ok()? >= 1.0).then_some(())
    });
    all[0].1.start();

    let wanted = [
        ("HighErrorRate on cart".to_owned(), "open".to_owned()),
        (title.clone(), "resolved".to_owned()),
    ];
    for (name, aegis) in &all {
        wait_for(
            &format!("one open and one resolved incident in {name}"),
            Duration::from_secs(90),
            || Some(aegis.incidents()).filter(|rows| *rows == wanted),
        );
    }
    monitoring.push("cart", 0.0);
    let wanted = wanted.map(|(title, _)| (title, "resolved".to_owned()));
    for (name, aegis) in &mut all {
        wait_for(&format!("both resolved in {name}"), Duration::from_secs(90), || {
            Some(aegis.incidents()).filter(|rows| *rows == wanted)
        });
        // One alert each: no double member, no double event, nothing refused.
        let members = aegis.sql("select count(*) as n from incident_members");
        assert_eq!(members[0]["n"], 2, "{name}");
        let refused = aegis.sql("select count(*) as n from dead_letters");
        assert_eq!(refused[0]["n"], 0, "{name}");
        assert_eq!(
            aegis.program.as_mut().map(Program::terminate),
            Some(Some(0)),
            "{name} exits 0"
        );
    }
}
