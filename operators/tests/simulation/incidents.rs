//! `dedupe` → `correlate`: the incidents' canonical form does not depend on what went wrong.

use model::{IncidentEvent, topics};
use operators::correlate::{Correlate, CorrelateSettings, canonical};
use operators::dedupe::{Dedupe, DedupeSettings};
use stream::simulation::{Contents, Dice, Plan, PlanStage};
use stream::task::Role;
use stream::{Instant, Record};

use crate::rig;
use crate::rows::{data, rows};
use crate::script::Scribe;
use crate::storms::some_signals;

pub fn plan(dice: &mut Dice) -> Plan {
    let partitions = [1, 2, 4][dice.below(3)];
    let names = [
        topics::SIGNALS,
        topics::TRANSITIONS,
        topics::INCIDENTS,
        topics::NOTIFICATIONS,
        topics::DEPLOYMENTS,
        topics::COMPLIANCE,
        topics::DEAD_LETTER,
        topics::ACCOUNTING,
    ];
    let topics: Vec<(stream::log::Topic, u32)> = names.map(|name| (name.into(), partitions)).to_vec();
    let upstream = Role::Downstream {
        upstream_partitions: partitions,
    };
    let mut input = some_signals(&mut rig::Dice(dice.roll()));
    for signal in &mut input {
        // Two domains, so that correlate has work for two partitions.
        let odd = signal.dedup_key.ends_with(['1', '3', '5', '7', '9']);
        signal.environment = if odd { "odd" } else { "even" }.to_owned();
    }
    for _ in 0..input.len() / 2 {
        let again = input[dice.below(input.len())].clone();
        input.push(again);
    }
    dice.shuffle(&mut input);
    let disorder = 1 + dice.below(600 * 1_000_000);
    input.sort_by_cached_key(|signal| signal.effective_at + dice.below(disorder) as i64);
    let mut scribe = Scribe::new(partitions);
    scribe.tell(&input, dice, |scribe, dice, _| {
        if dice.chance(5) {
            scribe.rubbish(dice);
        }
    });
    Plan {
        name: "incidents",
        stages: vec![
            PlanStage::new(topics::SIGNALS, topics::TRANSITIONS, upstream, &topics, || {
                Dedupe::new(&DedupeSettings::default())
            }),
            PlanStage::new(topics::TRANSITIONS, topics::INCIDENTS, upstream, &topics, || {
                Correlate::new(&CorrelateSettings::default())
            }),
        ],
        topics,
        sinks: vec![(
            "sql",
            vec![
                topics::SIGNALS.into(),
                topics::INCIDENTS.into(),
                topics::DEAD_LETTER.into(),
                topics::NOTIFICATIONS.into(),
            ],
        )],
        script: scribe.steps,
        final_at: Instant::MIN,
        starts_at: Instant(10_000_000_000),
        punctual: true,
        rows,
        result,
        expected: None,
    }
}

fn result(contents: &Contents) -> String {
    let fact = |record: &Record| -> IncidentEvent { serde_json::from_slice(&record.value).unwrap() };
    let form = canonical(data(contents, topics::INCIDENTS).map(fact));
    let incidents = form.as_array().unwrap();
    let lines: Vec<String> = incidents.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
