//! `window_dedupe` → `window_join`, over every kind of window; the expected pairs come from plain loops.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{Signal, topics};
use operators::window_dedupe::WindowDedupe;
use operators::window_join::{WindowJoin, WindowKind, WindowPair};
use stream::Instant;
use stream::simulation::{Contents, Dice, Plan, PlanStage};
use stream::task::Role;

use crate::chain::{SECOND, Shape, input, survivors};
use crate::rows::{data, rows};
use crate::script::Scribe;

pub fn plan(dice: &mut Dice) -> Plan {
    let shape = Shape {
        partitions: [1, 2, 4][dice.below(3)],
        window: 20,
        before: 0,
        jitter: 1 + dice.below(20),
        signals: 30 + dice.below(90),
        trouble: 10,
    };
    let seconds = Duration::from_secs;
    let kind = [
        WindowKind::Tumbling { width: seconds(40) },
        WindowKind::Hopping {
            width: seconds(60),
            hop: seconds(20),
        },
        WindowKind::Session { gap: seconds(6) },
    ][dice.below(3)];
    let topics: Vec<(stream::log::Topic, u32)> = [
        (topics::SIGNALS, shape.partitions),
        ("deduped", [1, 2, 4][dice.below(3)]),
        ("pairs", 2),
        (topics::LATE, 1),
        (topics::DEAD_LETTER, 2),
        (topics::ACCOUNTING, 2),
    ]
    .map(|(name, count)| (name.into(), count))
    .to_vec();
    let upstream = Role::Downstream {
        upstream_partitions: shape.partitions,
    };
    let input = input(dice, &shape);
    let mut scribe = Scribe::new(shape.partitions);
    scribe.tell(&input, dice, |scribe, dice, _| {
        if dice.chance(shape.trouble) {
            scribe.rubbish(dice);
        }
    });
    Plan {
        name: "windows",
        stages: vec![
            PlanStage::new(topics::SIGNALS, "deduped", upstream, &topics, move || {
                WindowDedupe::new(Duration::from_secs(shape.window as u64))
            }),
            PlanStage::new("deduped", "pairs", upstream, &topics, move || WindowJoin::new(kind)),
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
        expected: Some(shown(reference(&input, &shape, kind))),
    }
}

/// The pairs, by comparing every alert with every change of its service: no code in common with the operator.
fn reference(input: &[Signal], shape: &Shape, kind: WindowKind) -> Vec<WindowPair> {
    let (changes, alerts) = survivors(input, shape.window);
    let together: Vec<&Signal> = changes.iter().chain(&alerts).copied().collect();
    let mut pairs = Vec::new();
    for left in &alerts {
        for right in changes.iter().filter(|right| right.service == left.service) {
            let Some(service) = left.service.clone() else { continue };
            for start in shared_windows(&together, left, right, kind) {
                pairs.push(WindowPair {
                    left_id: left.id,
                    right_id: right.id,
                    service: service.clone(),
                    left_at: left.event_at,
                    right_at: right.event_at,
                    window_at: start,
                });
            }
        }
    }
    pairs
}

/// Where the windows begin that hold both.
fn shared_windows(rows: &[&Signal], left: &Signal, right: &Signal, kind: WindowKind) -> Vec<i64> {
    let micros = |span: Duration| span.as_micros() as i64;
    let (width, hop) = match kind {
        WindowKind::Tumbling { width } => (micros(width), micros(width)),
        WindowKind::Hopping { width, hop } => (micros(width), micros(hop)),
        WindowKind::Session { gap } => {
            let of_service = rows.iter().filter(|row| row.service == left.service);
            let instants: BTreeSet<i64> = of_service.map(|row| row.event_at).collect();
            let (mut start, mut last) = (i64::MIN / 2, i64::MIN / 2);
            let mut session_of = std::collections::BTreeMap::new();
            for at in instants {
                if at - last >= micros(gap) {
                    start = at;
                }
                last = at;
                session_of.insert(at, start);
            }
            let (one, other) = (session_of[&left.event_at], session_of[&right.event_at]);
            return if one == other { vec![one] } else { Vec::new() };
        }
    };
    (-10..200)
        .map(|n| n * hop)
        .filter(|start| {
            let window = *start..*start + width;
            window.contains(&left.event_at) && window.contains(&right.event_at)
        })
        .collect()
}

fn shown(pairs: impl IntoIterator<Item = WindowPair>) -> String {
    let mut lines: Vec<String> = pairs.into_iter().map(|pair| format!("{pair:?}")).collect();
    lines.sort();
    lines.join("\n")
}

/// A row that went to `late` is a line too: the reference knows none.
fn result(contents: &Contents) -> String {
    let pairs = data(contents, "pairs").map(|record| serde_json::from_slice::<WindowPair>(&record.value).unwrap());
    let mut found = shown(pairs);
    data(contents, topics::LATE).for_each(|record| found += &format!("\nlate {}", record.value.len()));
    found
}
