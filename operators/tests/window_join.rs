//! `window_join`: scenario files in `scenarios/window_join`, run in all the ways of `support/scenario.rs`, and random rows
//! against plain loops.
//!
//! The line `job` says the windows: `tumbling 60`, `hopping 60 20`, `session 60` (seconds). An outcome is a pair
//! (`alert@at change@at service from`: where its window begins), a row that came too late (`late name@at`), the number of
//! rows that were amended, and where this stage's own watermark stands.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/scenario.rs"]
mod scenario;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Signal, SignalId, SignalKind, topics};
use operators::window_join::{WindowJoin, WindowKind, WindowPair};
use rig::{Dice, Rig, json, signals};
use scenario::Job;
use stream::{Instant, partition_for};

const SECOND: i64 = 1_000_000;

fn seconds(count: i64) -> Duration {
    Duration::from_secs(count.unsigned_abs())
}

fn kind(words: &str) -> WindowKind {
    let words: Vec<&str> = words.split_whitespace().collect();
    let number = |nth: usize| seconds(words[nth].parse().expect("seconds"));
    match words[0] {
        "tumbling" => WindowKind::Tumbling { width: number(1) },
        "hopping" => WindowKind::Hopping {
            width: number(1),
            hop: number(2),
        },
        "session" => WindowKind::Session { gap: number(1) },
        other => panic!("{other}: neither tumbling, hopping nor session"),
    }
}

/// One join per partition; rows go by their service.
struct Joins {
    rigs: Vec<Rig<WindowJoin>>,
    names: BTreeMap<SignalId, String>,
    pairs: Vec<WindowPair>,
}

impl Joins {
    fn new(kind: WindowKind, partitions: usize, mortal: bool) -> Self {
        let rig = |_| {
            let mut rig = Rig::new(move || WindowJoin::new(kind));
            rig.mortal = mortal;
            rig
        };
        Joins {
            rigs: (0..partitions).map(rig).collect(),
            names: BTreeMap::new(),
            pairs: Vec::new(),
        }
    }

    /// Event time ends; every window closes, and every row that was held has been released.
    fn close(&mut self) {
        for rig in &mut self.rigs {
            self.pairs.extend(json::<WindowPair>(&rig.watermark_at(Instant::MAX)));
            assert_eq!((rig.entries(), rig.held), (0, rig.released), "nothing stays behind");
        }
    }
}

impl Job for Joins {
    fn feed(&mut self, batch: &[Signal]) {
        let count = self.rigs.len() as u32;
        for (partition, rig) in self.rigs.iter_mut().enumerate() {
            let home = |signal: &&Signal| {
                let service = signal.service.as_deref().unwrap_or(&signal.dedup_key);
                partition_for(service.as_bytes(), count) as usize == partition
            };
            let ours: Vec<Signal> = batch.iter().filter(home).cloned().collect();
            if !ours.is_empty() {
                self.pairs.extend(json::<WindowPair>(&rig.feed(&ours)));
            }
        }
        for signal in batch {
            let name = format!("{}@{}", signal.dedup_key, signal.event_at / SECOND);
            self.names.insert(signal.id, name);
        }
    }

    fn time(&mut self, at: i64) {
        for rig in &mut self.rigs {
            self.pairs.extend(json::<WindowPair>(&rig.watermark(at)));
        }
    }

    fn outcome(mut self) -> Vec<String> {
        let progress = self.rigs.iter().map(Rig::progress).min().expect("a partition");
        let mut lines = vec![format!("watermark {}", progress.0 / SECOND)];
        // A pair twice shows as a line twice.
        lines.extend(self.pairs.iter().map(|pair| {
            let name = |id| &self.names[id];
            let (left, right) = (name(&pair.left_id), name(&pair.right_id));
            format!("{left} {right} {} {}", pair.service, pair.window_at / SECOND)
        }));
        let mut late = BTreeSet::new();
        for rig in &self.rigs {
            for (topic, record) in &rig.side {
                assert_eq!(
                    (topic.as_ref(), &*record.headers[0].1),
                    (topics::LATE, &b"window_join"[..])
                );
                late.extend(signals(std::slice::from_ref(record)).iter().map(|row| row.id));
            }
            let by_cause = rig.total(|counts| counts.late_by.get("window-closed").copied().unwrap_or(0));
            assert_eq!(by_cause, rig.side.len() as u64, "every late row is counted");
        }
        lines.extend(late.iter().map(|id| format!("late {}", self.names[id])));
        let amended: u64 = self.rigs.iter().map(|rig| rig.total(|counts| counts.amended)).sum();
        lines.extend((amended > 0).then(|| format!("amended {amended}")));
        lines.sort();
        let emitted = self.pairs.len();
        self.close();
        let open = self.pairs.len() - emitted;
        lines.extend((open > 0).then(|| format!("still open {open}")));
        lines.sort();
        lines
    }
}

#[test]
fn every_scenario_ends_as_its_file_says_whatever_happens_on_the_way() {
    let files = scenario::check_folder("tests/scenarios/window_join", |job, partitions, mortal| {
        Joins::new(kind(job), partitions, mortal)
    });
    assert!(files >= 6);
}

/// Rows with jitter, told in random batches under the tightest watermark that is true.
#[test]
fn every_pair_of_plain_loops_and_no_other() {
    let kinds = [
        "tumbling 1",
        "tumbling 60",
        "hopping 60 20",
        "hopping 50 15",
        "session 3",
        "session 20",
    ];
    let mut pairs = 0;
    for seed in 0..120 {
        let mut dice = Dice(seed);
        let kind = kind(kinds[dice.below(kinds.len())]);
        let input = some_rows(&mut dice);
        let expected = plain_loops(kind, &input);
        let mut joins = Joins::new(kind, 1 + dice.below(3), seed % 4 == 0);
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(1 + dice.below(rest.len().min(20)));
            joins.feed(batch);
            rest = more;
            if let Some(at) = rest.iter().map(|row| row.event_at).min() {
                joins.time(at / SECOND);
            }
        }
        joins.close();
        let found: BTreeSet<WindowPair> = joins.pairs.iter().cloned().collect();
        assert_eq!(found.len(), joins.pairs.len(), "seed {seed}: no pair twice");
        assert_eq!(found, expected, "seed {seed}, {kind:?}");
        for rig in &joins.rigs {
            let counts = (rig.total(|counts| counts.late), rig.total(|counts| counts.amended));
            assert_eq!(counts, (0, 0), "seed {seed}: nothing falls behind");
        }
        pairs += found.len();
    }
    assert!(pairs > 10_000, "{pairs} pairs prove little");
}

#[test]
fn any_time_that_fits_is_survived() {
    for words in ["tumbling 60", "hopping 60 20", "session 60"] {
        let mut joins = Joins::new(kind(words), 1, true);
        for at in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
            for line in ["fire a @0 svc=s", "note d @0 kind=change svc=s", "fire lone @0"] {
                joins.feed(&[Signal {
                    event_at: at,
                    effective_at: at,
                    ..dsl::signal(line)
                }]);
            }
        }
        joins.close();
        assert!(joins.pairs.len() >= 4, "{words}: {:?}", joins.pairs);
    }
}

fn some_rows(dice: &mut Dice) -> Vec<Signal> {
    let pace = 1 + dice.below(6) as i64;
    let row = |i: i64, dice: &mut Dice| {
        let at = 600 + i * pace / 2 - dice.below(9) as i64;
        let service = dice.below(3);
        match dice.below(4) {
            0 => dsl::signal(&format!("note d{service} @{at} kind=change svc=s{service} text={i}")),
            _ => dsl::signal(&format!("fire a{service} @{at} svc=s{service} text={i}")),
        }
    };
    (0..300).map(|i| row(i, dice)).collect()
}

/// Every alert with every change; no code in common with the operator.
fn plain_loops(kind: WindowKind, input: &[Signal]) -> BTreeSet<WindowPair> {
    let micros = |span: Duration| span.as_micros() as i64;
    // Where windows begin that hold this instant of this service.
    let starts = |row: &Signal| -> BTreeSet<i64> {
        match kind {
            WindowKind::Tumbling { width } => BTreeSet::from([row.event_at.div_euclid(micros(width)) * micros(width)]),
            WindowKind::Hopping { width, hop } => {
                let hops = -100..2_000;
                let start = hops.map(|n| n * micros(hop));
                start
                    .filter(|start| (*start..start + micros(width)).contains(&row.event_at))
                    .collect()
            }
            WindowKind::Session { gap } => {
                let mut first = row.event_at;
                let reaches = |first: i64| {
                    let near = |other: &&Signal| {
                        other.service == row.service && (first - micros(gap) + 1..first).contains(&other.event_at)
                    };
                    input.iter().filter(near).map(|other| other.event_at).min()
                };
                while let Some(earlier) = reaches(first) {
                    first = earlier;
                }
                BTreeSet::from([first])
            }
        }
    };
    let (changes, alerts): (Vec<&Signal>, Vec<&Signal>) = input.iter().partition(|row| row.kind == SignalKind::Change);
    let changes: Vec<(&Signal, BTreeSet<i64>)> = changes.into_iter().map(|row| (row, starts(row))).collect();
    let mut pairs = BTreeSet::new();
    for left in alerts {
        let lefts = starts(left);
        for (right, rights) in changes.iter().filter(|(right, _)| right.service == left.service) {
            pairs.extend(lefts.intersection(rights).map(|start| WindowPair {
                left_id: left.id,
                right_id: right.id,
                service: left.service.clone().expect("a service"),
                left_at: left.event_at,
                right_at: right.event_at,
                window_at: *start,
            }));
        }
    }
    pairs
}
