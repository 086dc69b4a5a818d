//! Scenario files: what comes in, with its times, and which incidents there are in the end. `scenarios/*.txt`, input and
//! output separated by a line `---`; the words are those of `support/dsl.rs`.
//!
//! Every scenario runs straight; in other orders (signals between two `time` lines change places, which is what no
//! sender's watermark forbids); with duplicates; cut into random batches; killed and restored after every step; at 1, 2
//! and 4 partitions. Every run must end in the incidents that the file says.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;

use std::path::Path;

use dsl::Line;
use model::{IncidentEvent, Signal};
use operators::correlate::{Correlate, CorrelateSettings, canonical};
use operators::dedupe::{Dedupe, DedupeSettings};
use rig::{Dice, Rig, json, signals};
use serde_json::Value;
use stream::{Instant, partition_for};

/// Random variations of each kind per scenario and partition count.
const VARIATIONS: u64 = 12;

/// How a run differs from the straight one.
#[derive(Clone, Copy, Debug, Default)]
struct Variation {
    seed: u64,
    shuffled: bool,
    doubled: bool,
    cut: bool,
    mortal: bool,
}

/// Dedupe and correlate with as many partitions each.
struct Chain {
    first: Vec<Rig<Dedupe>>,
    second: Vec<Rig<Correlate>>,
    facts: Vec<IncidentEvent>,
}

impl Chain {
    fn new(partitions: usize, mortal: bool) -> Self {
        let first = || Rig::new(|| Dedupe::new(&DedupeSettings::default()));
        let second = || Rig::new(|| Correlate::new(&CorrelateSettings::default()));
        let mut chain = Chain {
            first: (0..partitions).map(|_| first()).collect(),
            second: (0..partitions).map(|_| second()).collect(),
            facts: Vec::new(),
        };
        chain.first.iter_mut().for_each(|rig| rig.mortal = mortal);
        chain.second.iter_mut().for_each(|rig| rig.mortal = mortal);
        chain
    }

    fn feed(&mut self, batch: &[Signal]) {
        let count = self.first.len();
        for (partition, rig) in self.first.iter_mut().enumerate() {
            let ours =
                |signal: &&Signal| partition_for(signal.dedup_key.as_bytes(), count as u32) as usize == partition;
            let ours: Vec<Signal> = batch.iter().filter(ours).cloned().collect();
            if !ours.is_empty() {
                let survivors = signals(&rig.feed(&ours));
                Self::correlate(&mut self.second, &mut self.facts, &survivors);
            }
        }
    }

    fn time(&mut self, at: i64) {
        for rig in &mut self.first {
            let released = signals(&rig.watermark(at));
            Self::correlate(&mut self.second, &mut self.facts, &released);
        }
        let least = self.first.iter().map(Rig::progress).min().unwrap_or(Instant::MIN);
        for rig in &mut self.second {
            self.facts.extend(json::<IncidentEvent>(&rig.watermark_at(least)));
        }
    }

    /// One batch per correlation domain, as the log would bring them.
    fn correlate(second: &mut [Rig<Correlate>], facts: &mut Vec<IncidentEvent>, survivors: &[Signal]) {
        let count = second.len();
        for (partition, rig) in second.iter_mut().enumerate() {
            let home =
                |signal: &Signal| partition_for(signal.environment.as_bytes(), count as u32) as usize == partition;
            let ours: Vec<Signal> = survivors.iter().filter(|signal| home(signal)).cloned().collect();
            if !ours.is_empty() {
                facts.extend(json::<IncidentEvent>(&rig.feed(&ours)));
            }
        }
    }
}

fn run(lines: &[Line], partitions: usize, variation: Variation) -> Vec<String> {
    let mut chain = Chain::new(partitions, variation.mortal);
    let mut dice = Dice(variation.seed);
    let mut waiting: Vec<Signal> = Vec::new();
    let settle = |chain: &mut Chain, waiting: &mut Vec<Signal>, dice: &mut Dice| {
        if variation.doubled {
            let again: Vec<Signal> = waiting.iter().filter(|_| dice.chance(50)).cloned().collect();
            waiting.extend(again);
        }
        if variation.shuffled {
            dice.shuffle(waiting);
        }
        let mut rest = &waiting[..];
        while !rest.is_empty() {
            let count = if variation.cut { 1 + dice.below(rest.len()) } else { 1 };
            chain.feed(&rest[..count]);
            rest = &rest[count..];
        }
        waiting.clear();
    };
    for line in lines {
        match line {
            Line::Signal(signal) => waiting.push(Signal::clone(signal)),
            Line::Time(at) => {
                settle(&mut chain, &mut waiting, &mut dice);
                chain.time(*at);
            }
        }
    }
    settle(&mut chain, &mut waiting, &mut dice);
    show(&canonical(chain.facts.into_iter()))
}

/// An incident in a line: `severity status @start..@end service: member member`.
fn show(incidents: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let seconds = |value: &Value| {
        let at = value
            .as_str()
            .map(|at| at.parse::<chrono::DateTime<chrono::Utc>>().expect("a time"));
        at.map_or_else(String::new, |at| format!("@{}", at.timestamp()))
    };
    let line = |incident: &Value| {
        let members = incident["members"].as_array().into_iter().flatten();
        let members: Vec<String> = members.map(|member| text(&member["dedup_key"])).collect();
        format!(
            "{} {} {}..{} {}: {}",
            text(&incident["severity"]),
            text(&incident["status"]),
            seconds(&incident["created_at"]),
            seconds(&incident["resolved_at"]),
            text(&incident["service"]),
            members.join(" ")
        )
    };
    let mut shown: Vec<String> = incidents.as_array().into_iter().flatten().map(line).collect();
    shown.sort();
    shown
}

fn variations() -> impl Iterator<Item = Variation> {
    let one = |seed| {
        let straight = Variation {
            seed,
            ..Variation::default()
        };
        [
            Variation {
                shuffled: true,
                ..straight
            },
            Variation {
                doubled: true,
                ..straight
            },
            Variation { cut: true, ..straight },
            Variation {
                shuffled: true,
                doubled: true,
                cut: true,
                mortal: true,
                ..straight
            },
        ]
    };
    let fixed = [
        Variation::default(),
        Variation {
            mortal: true,
            ..Variation::default()
        },
    ];
    fixed.into_iter().chain((0..VARIATIONS).flat_map(one))
}

#[test]
fn every_scenario_ends_as_its_file_says_whatever_happens_on_the_way() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("scenarios")
        .map(|entry| entry.expect("entry").path())
        .collect();
    files.sort();
    let mut runs = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("scenario");
        let (input, output) = text.split_once("\n---\n").expect("input, a line `---`, output");
        let comment = |line: &&str| !line.trim_start().starts_with('#') && !line.trim().is_empty();
        let input: Vec<&str> = input.lines().filter(comment).collect();
        let mut expected: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        expected.sort_unstable();
        let lines = dsl::lines(&input.join("\n"));
        for partitions in [1, 2, 4] {
            for variation in variations() {
                let found = run(&lines, partitions, variation);
                assert_eq!(
                    found,
                    expected,
                    "{} at {partitions} partitions, {variation:?}",
                    file.display()
                );
                runs += 1;
            }
        }
    }
    println!("{} scenarios, {runs} runs", files.len());
    assert!(files.len() >= 8);
}
