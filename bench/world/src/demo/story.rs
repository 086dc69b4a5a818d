//! What happened before the alert: the parts that a test takes away or changes.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::github::sha;
use crate::jira::Ticket;
use crate::{Scenario, State};

/// The service that it is about, and where it runs.
pub const SERVICE: &str = "api-server";
pub const NAMESPACE: &str = "production";
/// Where its code lies.
pub const REPOSITORY: &str = "shop/api-server";
/// An open ticket about it.
pub const TICKET: &str = "OPS-7";

/// Minutes before the alert.
pub const RELEASED: u32 = 40;
pub const TRAFFIC_ROSE: u32 = 25;
pub const MEMORY_ROSE: u32 = 15;
pub const FAILING: u32 = 4;

/// A course of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Story {
    /// Traffic rose to three times the usual, ten minutes before memory did.
    pub traffic_rose: bool,
    /// A release, and GitHub's webhook about it.
    pub released: bool,
    pub trouble: Trouble,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Memory rises until the processes run out of it.
    Memory,
    /// Memory is as always; a fifth of the requests fails, because a database refuses.
    Database,
    /// Nothing. The alert's threshold is a mistake.
    FalseAlarm,
}

impl Default for Story {
    fn default() -> Self {
        Story {
            traffic_rose: true,
            released: true,
            trouble: Trouble::Memory,
        }
    }
}

impl Story {
    /// The cluster as it stands when the alert fires, as fast as `replace_every_ms` and `ready_after_ms` say.
    pub fn scenario(&self, replace_every_ms: u64, ready_after_ms: u64) -> Scenario {
        let mut scenario = Scenario {
            replace_every_ms,
            ready_after_ms,
            ..Scenario::default()
        };
        for workload in &mut scenario.workloads {
            // One failing neighbour is a story of its own.
            workload.failing_images.clear();
            if workload.name == SERVICE {
                workload.leaks = self.trouble == Trouble::Memory;
                workload.released_minutes_ago = if self.released { RELEASED } else { 14 * 24 * 60 };
                if self.trouble == Trouble::Database {
                    workload.failing_images = workload.images.clone();
                }
            }
        }
        scenario
    }

    /// What the rule is called.
    pub fn alert(&self) -> &'static str {
        match self.trouble {
            Trouble::Memory | Trouble::FalseAlarm => "High Memory Usage",
            Trouble::Database => "High Error Rate",
        }
    }

    /// Prometheus's rule file, with the story's threshold or another.
    pub fn rules(&self, threshold: Option<f64>) -> Value {
        const MEMORY: &str = r#"max by (namespace, service) (label_replace(container_memory_working_set_bytes{container="api-server"} / on (namespace, pod, container) container_spec_memory_limit_bytes, "service", "api-server", "", ""))"#;
        const ERRORS: &str = r#"sum by (namespace, service) (rate(http_requests_total{service="api-server",status="500"}[15s])) / sum by (namespace, service) (rate(http_requests_total{service="api-server"}[15s]))"#;
        let (expression, usual) = match self.trouble {
            Trouble::Memory => (MEMORY, 0.9),
            // Everybody's memory is above this.
            Trouble::FalseAlarm => (MEMORY, 0.2),
            Trouble::Database => (ERRORS, 0.05),
        };
        let threshold = threshold.unwrap_or(usual);
        json!({"groups": [{"name": "demo", "interval": "1s", "rules": [{
            "alert": self.alert(),
            // Prometheus takes five seconds to find its Alertmanager.
            "for": "6s",
            "expr": format!("{expression} > {threshold}"),
            "labels": {"severity": "critical", "env": NAMESPACE},
            "annotations": {"summary": format!("{} on {{{{ $labels.service }}}} ({{{{ $value | humanizePercentage }}}})", self.alert())},
        }]}]})
    }

    /// A push for Loki.
    pub fn log(&self, now: DateTime<Utc>) -> Value {
        let minutes = |ago: i64| now - TimeDelta::minutes(ago);
        let mut errors = Vec::new();
        for number in 0..22 {
            let at = minutes(FAILING.into()) + TimeDelta::seconds(10 * number);
            let line = match (self.trouble, number % 3) {
                (Trouble::FalseAlarm, _) => break,
                (Trouble::Database, _) => {
                    format!("ERROR request {number}: connection to database orders-{number} refused")
                }
                (Trouble::Memory, 2) => "ERROR java.lang.OutOfMemoryError: GC overhead limit exceeded".to_owned(),
                (Trouble::Memory, _) => {
                    format!("ERROR request {number} of /api/v1/report: java.lang.OutOfMemoryError: Java heap space")
                }
            };
            errors.push((at, line));
        }
        let usual = (1..30).map(|ago| (minutes(ago), format!("INFO request {ago} done in {} ms", 10 + ago)));
        let stream = |level: &str, lines: Vec<(DateTime<Utc>, String)>| {
            let value = |(at, line): (DateTime<Utc>, String)| {
                json!([at.timestamp_nanos_opt().unwrap_or_default().to_string(), line])
            };
            json!({
                "stream": {"app": SERVICE, "namespace": NAMESPACE, "env": NAMESPACE, "level": level},
                "values": lines.into_iter().map(value).collect::<Vec<_>>(),
            })
        };
        let mut streams = vec![stream("info", usual.rev().collect())];
        if !errors.is_empty() {
            streams.push(stream("error", errors));
        }
        json!({ "streams": streams })
    }

    /// What GitHub and Jira know before the release: three commits, of which the first runs since long, and what people wrote down.
    pub fn write_down(&self, state: &mut State, now: DateTime<Utc>) {
        let messages = [
            "Serve reports",
            "Keep finished reports in memory",
            "Load whole reports for their previews",
        ];
        let github = &mut state.github;
        github.repository(
            REPOSITORY,
            now - TimeDelta::minutes(i64::from(RELEASED) + 10),
            &messages,
        );
        github.deployed(REPOSITORY, &sha(1), NAMESPACE, "success", now - TimeDelta::days(14));
        let ticket = |key: &str, summary: &str, label: &str, done: bool| Ticket {
            key: key.to_owned(),
            summary: summary.to_owned(),
            description: String::new(),
            labels: vec![label.to_owned()],
            status: if done { "Done" } else { "To Do" }.to_owned(),
            done,
            updated: now - TimeDelta::days(3),
        };
        state.jira.tickets.extend([
            ticket(TICKET, "Give reports a memory limit of their own", SERVICE, false),
            ticket("OPS-5", "api-server: raise the number of replicas", SERVICE, true),
            ticket("OPS-6", "checkout is slow on Mondays", "checkout", false),
        ]);
    }

    /// The commit that was released, and when; `None` if there was no release.
    pub fn release(&self, now: DateTime<Utc>) -> Option<(String, DateTime<Utc>)> {
        self.released
            .then(|| (sha(3), now - TimeDelta::minutes(RELEASED.into())))
    }
}
