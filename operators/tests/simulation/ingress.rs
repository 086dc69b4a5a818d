//! `normalize` → `window_dedupe` → `interval_join`: event time comes from senders and the wall clock, as in production.

use std::time::Duration;

use model::{RawEvent, topics};
use operators::interval_join::IntervalJoin;
use operators::normalize::{Normalize, NormalizeSettings};
use operators::window_dedupe::WindowDedupe;
use serde_json::{Value, json};
use stream::progress::IngressPolicy;
use stream::simulation::{Contents, Dice, Plan, PlanStage, Step};
use stream::task::Role;
use stream::{Instant, NewRecord, TopicPartition};

use crate::rows::{data, rows};

/// 2026-11-23T08:50:00Z.
pub const START: Instant = Instant(1_795_423_800_000_000);
pub const WINDOW: Duration = Duration::from_secs(60);
pub const POLICY: IngressPolicy = IngressPolicy {
    lateness: Duration::from_secs(60),
    idle_after: Duration::from_secs(30),
    max_hold: Duration::from_millis(500),
    max_senders: 100,
    founding_partitions: u32::MAX,
};

/// The wall clock `at` after the start.
pub fn clock(at: Duration) -> Instant {
    START.saturating_add(at)
}

/// An alert in flat JSON.
pub fn alert(sender: &str, name: &str, service: &str, at: Instant) -> Value {
    json!({
        "ts": at.as_millis(), "fingerprint": name, "source": sender, "service": service,
        "severity": "warning", "status": "firing", "title": name,
    })
}

pub fn change(service: &str, version: usize, at: Instant) -> Value {
    json!({ "ts": at.as_millis(), "service": service, "version": version.to_string() })
}

/// A body, received at `at` since the start.
pub fn body(at: Duration, partition: u32, elements: &[Value]) -> Step {
    let received = clock(at);
    let event = RawEvent {
        received_at: received.0,
        ..RawEvent::default()
    };
    let record = NewRecord {
        value: Value::from(elements).to_string().into(),
        headers: event.to_headers(),
        timestamp: received,
        ..NewRecord::default()
    };
    Step {
        at,
        to: TopicPartition::new(topics::EVENTS_RAW, partition),
        records: vec![record],
    }
}

/// The three stages over a script.
pub fn plan_of(partitions: u32, script: Vec<Step>, punctual: bool) -> Plan {
    plan_under(POLICY, partitions, script, punctual)
}

pub fn plan_under(policy: IngressPolicy, partitions: u32, script: Vec<Step>, punctual: bool) -> Plan {
    let topics: Vec<(stream::log::Topic, u32)> = [
        (topics::EVENTS_RAW, partitions),
        (topics::SIGNALS, 2),
        ("deduped", 2),
        ("pairs", 1),
        (topics::LATE, 1),
        (topics::DEAD_LETTER, 1),
        (topics::ACCOUNTING, 1),
    ]
    .map(|(name, count)| (name.into(), count))
    .to_vec();
    let behind = |upstream_partitions| Role::Downstream { upstream_partitions };
    Plan {
        name: "ingress",
        stages: vec![
            PlanStage::new(
                topics::EVENTS_RAW,
                topics::SIGNALS,
                Role::Ingress(policy),
                &topics,
                || Normalize::new(NormalizeSettings::default()),
            ),
            PlanStage::new(topics::SIGNALS, "deduped", behind(partitions), &topics, || {
                WindowDedupe::new(WINDOW)
            }),
            PlanStage::new("deduped", "pairs", behind(2), &topics, || {
                IntervalJoin::new(Duration::from_secs(120))
            }),
        ],
        topics,
        sinks: vec![("pairs", vec!["pairs".into(), topics::LATE.into()])],
        // Every window with an alert of the script in it is closed.
        final_at: clock(script.last().map_or(Duration::ZERO, |step| step.at)).saturating_add(WINDOW),
        script,
        starts_at: START,
        punctual,
        rows,
        result: if punctual { pairs } else { |_| String::new() },
        expected: None,
    }
}

pub fn plan(dice: &mut Dice) -> Plan {
    let partitions = [1, 2, 4][dice.below(3)];
    let mut script = Vec::new();
    let mut at = Duration::ZERO;
    for version in 0..20 + dice.below(30) {
        at += Duration::from_millis(dice.below(3_000) as u64);
        let mut elements = Vec::new();
        for _ in 0..1 + dice.below(3) {
            // Well within the lateness.
            let event_at = clock(at).saturating_sub(Duration::from_millis(dice.below(5_000) as u64));
            let service = format!("s{}", dice.below(2));
            elements.push(match dice.below(4) {
                0 => change(&service, version, event_at),
                _ => alert(
                    "prometheus",
                    &format!("{service}-{}", dice.below(3)),
                    &service,
                    event_at,
                ),
            });
        }
        let partition = dice.below(partitions as usize) as u32;
        script.push(body(at, partition, &elements));
        if dice.chance(5) {
            let mut rubbish = body(at, partition, &[]);
            rubbish.records[0].value = format!("{{rubbish {version}").into();
            script.push(rubbish);
        }
    }
    plan_of(partitions, script, true)
}

fn pairs(contents: &Contents) -> String {
    let mut lines: Vec<String> = [("pairs", "pair"), (topics::LATE, "late")]
        .into_iter()
        .flat_map(|(topic, word)| {
            data(contents, topic).map(move |record| format!("{word} {}", String::from_utf8_lossy(&record.value)))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}
