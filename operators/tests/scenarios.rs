//! Which incidents there are in the end: `scenarios/*.txt`, run in all the ways of `support/scenario.rs`.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/scenario.rs"]
mod scenario;

use model::{IncidentEvent, Signal};
use operators::correlate::{Correlate, CorrelateSettings, canonical};
use operators::dedupe::{Dedupe, DedupeSettings};
use rig::{Dice, Rig, json, signals};
use scenario::Job;
use serde_json::Value;
use stream::{Instant, partition_for};

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

impl Job for Chain {
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

    fn outcome(self) -> Vec<String> {
        show(&canonical(self.facts.into_iter()))
    }
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

#[test]
fn every_scenario_ends_as_its_file_says_whatever_happens_on_the_way() {
    let files = scenario::check_folder("tests/scenarios", |_, partitions, mortal| {
        Chain::new(partitions, mortal)
    });
    assert!(files >= 8);
}

/// Alerts whose firings nobody names, alerts with terms, and ordinary ones, over a few windows. Between two firings of one alert lies a window's end:
/// what tells them apart is event time.
fn script(dice: &mut Dice) -> String {
    let mut lines = Vec::new();
    for window in 0..3 {
        let start = 100 + 2_000 * window;
        for alert in 0..4 {
            let (at, service) = (start + dice.below(200), dice.below(3));
            let end = at + 1 + dice.below(250);
            let name = format!("{}{alert}", ["p", "t", "f"][alert % 3]);
            let say = |lines: &mut Vec<String>, chance, dice: &mut Dice, words: String| {
                if dice.chance(chance) {
                    lines.push(words);
                }
            };
            match alert % 3 {
                0 => {
                    say(
                        &mut lines,
                        80,
                        dice,
                        format!("trigger {name} @{at} critical svc=s{service}"),
                    );
                    for who in 0..dice.below(3) {
                        let by = at + dice.below(end - at);
                        lines.push(format!("ack {name} @{by} text={who}"));
                    }
                    say(&mut lines, 80, dice, format!("clear {name} @{end}"));
                }
                1 => {
                    for _ in 0..1 + dice.below(3) {
                        let until = end + dice.below(400);
                        lines.push(format!("fire {name} @{at} warning svc=s{service} until={until}"));
                    }
                    say(
                        &mut lines,
                        40,
                        dice,
                        format!("end {name} @{at} until={end} svc=s{service}"),
                    );
                }
                _ => {
                    say(
                        &mut lines,
                        80,
                        dice,
                        format!("fire {name} @{at} warning svc=s{service}"),
                    );
                    say(
                        &mut lines,
                        80,
                        dice,
                        format!("end {name} @{at} until={end} svc=s{service}"),
                    );
                }
            }
        }
        lines.push(format!("time {}", start + 1_900));
    }
    lines.join("\n")
}

/// Each runs in a hundred ways.
const SCRIPTS: u64 = 10;

#[test]
fn what_is_said_of_a_firing_may_come_in_any_order() {
    let mut incidents = 0;
    for seed in 0..SCRIPTS {
        incidents += scenario::agree(&script(&mut Dice(seed)), Chain::new).len();
    }
    println!("{incidents} incidents of {SCRIPTS} scripts");
    assert!(incidents > 40, "{incidents}");
}
