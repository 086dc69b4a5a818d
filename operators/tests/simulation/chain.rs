//! `window_dedupe` → `interval_join`, with rubbish and late rows; the expected pairs come from plain loops.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Signal, SignalBatch, SignalKind, topics};
use operators::interval_join::{IntervalJoin, Pair};
use operators::window_dedupe::WindowDedupe;
use stream::simulation::{Contents, Dice, Plan, PlanStage};
use stream::task::Role;
use stream::{Instant, Record};

use crate::dsl;
use crate::rows::{data, rows};
use crate::script::Scribe;

pub const SECOND: i64 = 1_000_000;

/// What varies. Spans are in seconds.
pub struct Shape {
    pub partitions: u32,
    pub window: i64,
    pub before: i64,
    pub jitter: usize,
    pub signals: usize,
    /// Percent of portions followed by a late row, or by rubbish.
    pub trouble: u32,
}

pub fn plan(dice: &mut Dice) -> Plan {
    let shape = Shape {
        partitions: [1, 2, 4][dice.below(3)],
        window: 60,
        before: 300,
        jitter: 1 + dice.below(20),
        signals: 30 + dice.below(90),
        trouble: 10,
    };
    plan_of(dice, &shape)
}

pub fn plan_of(dice: &mut Dice, shape: &Shape) -> Plan {
    let &Shape {
        partitions,
        window,
        before,
        trouble,
        ..
    } = shape;
    let topics: Vec<(stream::log::Topic, u32)> = [
        (topics::SIGNALS, partitions),
        ("deduped", [1, 2, 4][dice.below(3)]),
        ("pairs", 2),
        (topics::LATE, 1),
        (topics::DEAD_LETTER, 2),
        (topics::ACCOUNTING, 2),
    ]
    .map(|(name, count)| (name.into(), count))
    .to_vec();
    let upstream = Role::Downstream {
        upstream_partitions: partitions,
    };
    let input = input(dice, shape);
    let mut scribe = Scribe::new(partitions);
    let mut late = Vec::new();
    scribe.tell(&input, dice, |scribe, dice, heard| {
        if dice.chance(trouble) {
            scribe.rubbish(dice);
        }
        // Its window is closed for everybody.
        if dice.chance(trouble) && heard > Instant(0) {
            let at = heard.0 / SECOND - window - 1 - dice.below(500) as i64;
            let mut signal = dsl::signal(&format!("fire late{} @{} svc=s0", late.len(), at.max(1)));
            signal.observed_at = heard.0;
            if signal.event_at + 2 * window * SECOND <= heard.0 {
                scribe.signals(std::slice::from_ref(&signal));
                late.push(signal);
            }
        }
    });
    Plan {
        name: "chain",
        stages: vec![
            PlanStage::new(topics::SIGNALS, "deduped", upstream, &topics, move || {
                WindowDedupe::new(Duration::from_secs(window as u64))
            }),
            // As many tasks speak to it as stage one has partitions.
            PlanStage::new("deduped", "pairs", upstream, &topics, move || {
                IntervalJoin::new(Duration::from_secs(before as u64))
            }),
        ],
        topics,
        sinks: vec![
            ("pairs", vec!["pairs".into(), topics::LATE.into()]),
            ("survivors", vec!["deduped".into(), topics::DEAD_LETTER.into()]),
        ],
        script: scribe.steps,
        final_at: Instant::MIN,
        starts_at: Instant(2_000 * SECOND),
        punctual: true,
        rows,
        result,
        expected: Some(shown(reference(&input, shape), &late)),
    }
}

/// Alerts with some seconds of jitter, and changes before them.
pub fn input(dice: &mut Dice, shape: &Shape) -> Vec<Signal> {
    let jitter = shape.jitter.max(1);
    let pace = 1 + dice.below(8);
    let line = |i: usize, dice: &mut Dice| {
        let at = (600 + i * pace / 2 - dice.below(jitter)) as i64;
        let service = dice.below(3);
        match dice.below(8) {
            0 | 1 => format!("note d{service} @{at} kind=change svc=s{service} text={i}"),
            2 => format!("fire lone{} @{at} text={i}", dice.below(3)),
            _ => format!("fire a{service}-{} @{at} svc=s{service} text={i}", dice.below(3)),
        }
    };
    (0..shape.signals).map(|i| dsl::signal(&line(i, dice))).collect()
}

/// The pairs, by comparing every alert with every change: no code in common with the operators.
fn reference(input: &[Signal], shape: &Shape) -> BTreeSet<Pair> {
    let (changes, alerts): (Vec<&Signal>, Vec<&Signal>) = input.iter().partition(|s| s.kind == SignalKind::Change);
    let mut survivors: BTreeMap<(&str, i64), &Signal> = BTreeMap::new();
    for alert in alerts {
        let slot = survivors
            .entry((&alert.dedup_key, alert.event_at.div_euclid(shape.window * SECOND)))
            .or_insert(alert);
        if (alert.event_at, alert.id) < (slot.event_at, slot.id) {
            *slot = alert;
        }
    }
    let mut pairs = BTreeSet::new();
    for left in survivors.values() {
        for right in &changes {
            let apart = left.event_at - right.event_at;
            if left.service.is_some() && left.service == right.service && (0..=shape.before * SECOND).contains(&apart) {
                pairs.insert(Pair {
                    left_id: left.id,
                    right_id: right.id,
                    service: left.service.clone().unwrap(),
                    left_at: left.event_at,
                    right_at: right.event_at,
                });
            }
        }
    }
    pairs
}

fn shown(pairs: BTreeSet<Pair>, late: &[Signal]) -> String {
    let mut lines: Vec<String> = pairs.iter().map(|pair| format!("{pair:?}")).collect();
    lines.extend(late.iter().map(|signal| format!("late {}", signal.id)));
    lines.sort();
    lines.join("\n")
}

fn result(contents: &Contents) -> String {
    let pair = |record: &Record| {
        let pair: Pair = serde_json::from_slice(&record.value).unwrap();
        format!("{pair:?}")
    };
    let mut lines: Vec<String> = data(contents, "pairs").map(pair).collect();
    for record in data(contents, topics::LATE) {
        let batch = SignalBatch::decode(&record.value).unwrap();
        lines.extend(batch.rows().map(|row| format!("late {}", row.id)));
    }
    lines.sort();
    lines.join("\n")
}
