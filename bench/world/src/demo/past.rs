//! The metrics of the two hours before the alert, as OpenMetrics text for `promtool tsdb create-blocks-from openmetrics`: the series
//! that the exporter goes on with, under the labels that the scrape gives them.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};

use super::story::{FAILING, MEMORY_ROSE, SERVICE, Story, TRAFFIC_ROSE, Trouble};
use crate::exporter::{FAMILIES, samples};
use crate::kubernetes::{Cluster, FAILING_SHARE, FULL_PERCENT, REQUESTS_PER_SECOND, Requests, USUAL_PERCENT, Usage};
use crate::scenario::Workload;

const LENGTH: TimeDelta = TimeDelta::hours(2);
/// A usual distance of scrapes.
const EVERY: TimeDelta = TimeDelta::seconds(15);
/// How many times the traffic of before is the traffic of now, where it rose.
const TIMES: f64 = 3.0;

/// Text, and how many samples there are in it. `scrape`: the labels that Prometheus will add.
pub fn openmetrics(cluster: &Cluster, story: &Story, until: DateTime<Utc>, scrape: &str) -> (String, usize) {
    let now = cluster.usage();
    let mut text = String::new();
    let mut count = 0;
    for (family, kind) in FAMILIES {
        let name = family.trim_end_matches("_total");
        let name = if kind == "counter" { name } else { family };
        let _ = writeln!(text, "# TYPE {name} {kind}");
        let mut at = until - LENGTH;
        while at <= until {
            let usage: Vec<Usage> = now.iter().map(|usage| usage_at(usage, story, until - at)).collect();
            let requests: Vec<(&Workload, Requests)> = cluster
                .requests()
                .map(|(workload, _)| (workload, requests_at(workload, story, until - at)))
                .collect();
            for (labels, value) in samples(family, &usage, &requests) {
                let _ = writeln!(text, "{family}{{{labels},{scrape}}} {value} {}", at.timestamp());
                count += 1;
            }
            at += EVERY;
        }
    }
    text.push_str("# EOF\n");
    (text, count)
}

fn minutes(minutes: u32) -> TimeDelta {
    TimeDelta::minutes(minutes.into())
}

/// What a container used `ago`.
fn usage_at(now: &Usage, story: &Story, ago: TimeDelta) -> Usage {
    let mut then = now.clone();
    if story.trouble == Trouble::Memory && now.container == SERVICE {
        let (rose, full) = (minutes(MEMORY_ROSE), minutes(FAILING));
        let part = (rose - ago).as_seconds_f64() / (rose - full).as_seconds_f64();
        // Steep at first: the rise shows in its first sample, as that of the traffic does.
        let percent = USUAL_PERCENT as f64 + (FULL_PERCENT - USUAL_PERCENT) as f64 * part.clamp(0.0, 1.0).sqrt();
        then.memory_bytes = (now.limit_bytes as f64 / 100.0 * percent) as u64;
        then.restarts = if ago < full { now.restarts } else { 0 };
    }
    then
}

/// What a service had answered until `ago`.
fn requests_at(workload: &Workload, story: &Story, ago: TimeDelta) -> Requests {
    let seconds = |from: TimeDelta| (from - ago).max(TimeDelta::zero()).as_seconds_f64();
    let mut all = REQUESTS_PER_SECOND * seconds(LENGTH);
    let mut bad = 0.0;
    if workload.name == SERVICE {
        if story.traffic_rose {
            let since = seconds(minutes(TRAFFIC_ROSE));
            all = REQUESTS_PER_SECOND * since + REQUESTS_PER_SECOND / TIMES * (seconds(LENGTH) - since);
        }
        if story.trouble != Trouble::FalseAlarm {
            bad = REQUESTS_PER_SECOND * FAILING_SHARE * seconds(minutes(FAILING));
        }
    }
    Requests { good: all - bad, bad }
}
