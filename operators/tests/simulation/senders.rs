//! The stages of `ingress`, with senders whose time is out of the ordinary: one that lags, one in the future, one that falls
//! silent, and partitions that stay empty for long. Whatever goes wrong meanwhile, nothing of the senders that are on time
//! is late, and their pairs are all there.

use std::time::Duration;

use model::{SignalBatch, topics};
use operators::interval_join::Pair;
use stream::Record;
use stream::simulation::{Contents, Dice, Plan, Row};

use crate::ingress::{alert, body, change, clock, plan_of};
use crate::rows::{self, data};

/// Service of everybody whose time is out of the ordinary.
const ODD: &str = "odd";
/// 2100-01-01T00:00:00Z, in seconds since [`clock`]'s zero. Times of day go on there as everywhere.
const FUTURE: Duration = Duration::from_secs(4_102_444_800 - 1_795_423_800);

pub fn plan(dice: &mut Dice) -> Plan {
    let partitions = [1, 2, 4][dice.below(3)];
    let steps = 20 + dice.below(30);
    // Every partition has a first step before which nobody writes to it.
    let opens: Vec<usize> = (0..partitions)
        .map(|p| if p == 0 { 0 } else { dice.below(steps) })
        .collect();
    let silent_from = dice.below(steps);
    let mut script = Vec::new();
    let mut at = Duration::ZERO;
    for step in 0..steps {
        at += Duration::from_millis(dice.below(3_000) as u64);
        let mut elements = Vec::new();
        for _ in 0..1 + dice.below(3) {
            let event_at = clock(at).saturating_sub(Duration::from_millis(dice.below(5_000) as u64));
            let service = format!("s{}", dice.below(2));
            let name = format!("{service}-{}", dice.below(3));
            elements.push(match dice.below(8) {
                0 | 1 => change(&service, step, event_at),
                2 => alert("future", "future", ODD, clock(at + FUTURE)),
                3 => {
                    let behind = Duration::from_secs(61 + dice.below(600) as u64);
                    alert("lagging", "lagging", ODD, event_at.saturating_sub(behind))
                }
                4 if step < silent_from => alert("silent", &name, &service, event_at),
                _ => alert("steady", &name, &service, event_at),
            });
        }
        let open: Vec<u32> = (0..partitions).filter(|p| opens[*p as usize] <= step).collect();
        script.push(body(at, *dice.pick(&open).unwrap(), &elements));
    }
    Plan {
        name: "senders",
        rows,
        result: those_on_time,
        ..plan_of(partitions, script, true)
    }
}

/// What the odd ones say is late or in the future, and promises no time.
fn rows(topic: &str, record: &Record) -> Option<Vec<Row>> {
    let mut rows = rows::rows(topic, record)?;
    let odd = format!("service: {:?}", Some(ODD));
    for row in rows.iter_mut().filter(|row| row.text.contains(&odd)) {
        row.at = None;
    }
    Some(rows)
}

/// Pairs and late rows of everybody but the odd ones.
fn those_on_time(contents: &Contents) -> String {
    let pairs = data(contents, "pairs").map(|record| serde_json::from_slice::<Pair>(&record.value).unwrap());
    let mut lines: Vec<String> = pairs
        .filter(|pair| pair.service != ODD)
        .map(|pair| format!("{pair:?}"))
        .collect();
    for record in data(contents, topics::LATE) {
        let batch = SignalBatch::decode(&record.value).unwrap();
        let late = batch.rows().filter(|row| row.service != Some(ODD));
        lines.extend(late.map(|row| format!("late {} of {}", row.id, row.event_at)));
    }
    lines.sort();
    lines.join("\n")
}
