//! `templates` → `dedupe`: a stateful stage at the edge, whose watermark comes from the clock and whose state must not.

use std::time::Duration;

use model::{LogBatch, LogLine, logs, topics};
use operators::dedupe::{Dedupe, DedupeSettings};
use operators::templates::{Templates, TemplatesSettings};
use stream::human::HumanDuration;
use stream::simulation::{Contents, Dice, Plan, PlanStage, Step};
use stream::task::Role;
use stream::{NewRecord, TopicPartition, partition_for};

use crate::ingress::{POLICY, START, clock};
use crate::rows::{data, rows};

/// Far less than the lateness: the start of a window is never behind the watermark.
const WINDOW: HumanDuration = HumanDuration::from_secs(10);

fn settings() -> TemplatesSettings {
    TemplatesSettings {
        window: WINDOW,
        max_templates: 12,
        spike_min: 4,
        spike_factor: 2,
        spike_history: 1,
        ..TemplatesSettings::default()
    }
}

fn line(dice: &mut Dice, at: Duration) -> LogLine {
    let at = clock(at).saturating_sub(Duration::from_millis(dice.below(5_000) as u64));
    let text = match dice.below(6) {
        0 => format!("ERROR order {} failed", dice.below(1_000)),
        1 => format!("WARN {} is slow today", ["ada", "bob", "eve"][dice.below(3)]),
        2 => format!(
            "ERROR cannot find {}",
            ["x", "y", "z", "u", "v"][dice.below(5)].repeat(1 + dice.below(4))
        ),
        _ => format!("INFO tick {}", dice.below(1_000)),
    };
    LogLine {
        at: Some(at.0),
        text,
        ..LogLine::default()
    }
}

fn step(at: Duration, partitions: u32, batch: &LogBatch, delivery: &str) -> Step {
    let key = batch.key();
    Step {
        at,
        to: TopicPartition::new(topics::LOGS, partition_for(key.as_bytes(), partitions)),
        records: vec![NewRecord {
            key: Some(key.into()),
            value: serde_json::to_vec(batch).unwrap_or_default().into(),
            headers: vec![(logs::header::DELIVERY.to_owned(), delivery.to_owned().into())],
            timestamp: clock(at),
        }],
    }
}

pub fn plan(dice: &mut Dice) -> Plan {
    let partitions = [1, 2, 4][dice.below(3)];
    let mut script: Vec<Step> = Vec::new();
    let mut at = Duration::ZERO;
    for number in 0..30 + dice.below(40) {
        at += Duration::from_millis(dice.below(3_000) as u64);
        let batch = LogBatch {
            schema: LogBatch::SCHEMA,
            tenant: "t".to_owned(),
            service: format!("s{}", dice.below(3)),
            lines: (0..1 + dice.below(8)).map(|_| line(dice, at)).collect(),
            ..LogBatch::default()
        };
        let pushed = step(at, partitions, &batch, &number.to_string());
        script.push(pushed.clone());
        if dice.chance(10) {
            script.push(pushed.clone());
        }
        if dice.chance(5) {
            let mut rubbish = pushed;
            rubbish.records[0].value = format!("{{rubbish {number}").into();
            script.push(rubbish);
        }
    }
    let topics: Vec<(stream::log::Topic, u32)> = [
        (topics::LOGS, partitions),
        (topics::SIGNALS, 2),
        (topics::LINES, 2),
        (topics::TRANSITIONS, 2),
        (topics::DEPLOYMENTS, 1),
        (topics::COMPLIANCE, 1),
        (topics::LATE, 1),
        (topics::DEAD_LETTER, 1),
        (topics::ACCOUNTING, 1),
    ]
    .map(|(name, count)| (name.into(), count))
    .to_vec();
    let behind = Role::Downstream {
        upstream_partitions: partitions,
    };
    Plan {
        name: "lines",
        stages: vec![
            PlanStage::new(topics::LOGS, topics::SIGNALS, Role::Ingress(POLICY), &topics, || {
                Templates::new(&settings(), "prod")
            }),
            PlanStage::new(topics::SIGNALS, topics::TRANSITIONS, behind, &topics, || {
                Dedupe::new(&DedupeSettings::default())
            }),
        ],
        topics,
        sinks: vec![("lines", vec![topics::LINES.into(), topics::TRANSITIONS.into()])],
        // Every window with a line of the script in it is closed.
        final_at: START.saturating_add(script.last().map_or(Duration::ZERO, |step| step.at)),
        script,
        starts_at: START,
        punctual: true,
        rows,
        result: told,
        expected: None,
    }
}

/// What was told and mined, in no order.
fn told(contents: &Contents) -> String {
    let texts = |topic| data(contents, topic).flat_map(move |record| rows(topic, record).unwrap_or_default());
    let mut lines: Vec<String> = texts(topics::SIGNALS)
        .chain(texts(topics::LINES))
        .map(|row| row.text)
        .collect();
    lines.sort();
    lines.join("\n")
}
