//! Scenario files: what comes in, with its times, and what there is in the end; input and output separated by a line `---`.
//! The words are those of `support/dsl.rs`; a line that begins with `#` is a comment, one with `job` is for the test.
//!
//! Every scenario runs straight; in other orders (signals between two `time` lines change places, which is what no
//! sender's watermark forbids); with duplicates; cut into random batches; killed and restored after every step; at 1, 2
//! and 4 partitions. Every run must end as the file says.

use std::path::Path;

use model::Signal;

use crate::dsl::{self, Line};
use crate::rig::Dice;

/// Random variations of each kind per scenario and partition count.
const VARIATIONS: u64 = 12;

/// What a scenario runs through.
pub trait Job {
    fn feed(&mut self, batch: &[Signal]);

    /// Event time reaches `at`, in seconds.
    fn time(&mut self, at: i64);

    /// What there is in the end, a line each, sorted.
    fn outcome(self) -> Vec<String>;
}

/// How a run differs from the straight one.
#[derive(Clone, Copy, Debug, Default)]
struct Variation {
    seed: u64,
    shuffled: bool,
    doubled: bool,
    cut: bool,
    mortal: bool,
}

/// Runs every file of a folder below the crate and returns how many there are. `make` gets the words behind `job`, the
/// number of partitions, and whether to be killed and restored after every step.
pub fn check_folder<J: Job>(folder: &str, make: impl Fn(&str, usize, bool) -> J) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("scenarios")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut runs = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("scenario");
        let (input, output) = text.split_once("\n---\n").expect("input, a line `---`, output");
        let told = |line: &&str| !line.trim_start().starts_with('#') && !line.trim().is_empty();
        let (jobs, input): (Vec<&str>, Vec<&str>) =
            input.lines().filter(told).partition(|line| line.starts_with("job "));
        let job = jobs.first().map_or("", |line| line.trim_start_matches("job "));
        let mut expected: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        expected.sort_unstable();
        let lines = dsl::lines(&input.join("\n"));
        for partitions in [1, 2, 4] {
            for variation in variations() {
                let found = run(&lines, make(job, partitions, variation.mortal), variation);
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
    files.len()
}

/// Whether a script ends in the same way however it runs; returns how.
#[allow(dead_code)] // Not every test makes scripts up.
pub fn agree<J: Job>(script: &str, make: impl Fn(usize, bool) -> J) -> Vec<String> {
    let lines = dsl::lines(script);
    let straight = run(&lines, make(1, false), Variation::default());
    for partitions in [1, 4] {
        for variation in variations() {
            let found = run(&lines, make(partitions, variation.mortal), variation);
            assert_eq!(found, straight, "at {partitions} partitions, {variation:?}:\n{script}");
        }
    }
    straight
}

fn run<J: Job>(lines: &[Line], mut job: J, variation: Variation) -> Vec<String> {
    let mut dice = Dice(variation.seed);
    let mut waiting: Vec<Signal> = Vec::new();
    let settle = |job: &mut J, waiting: &mut Vec<Signal>, dice: &mut Dice| {
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
            job.feed(&rest[..count]);
            rest = &rest[count..];
        }
        waiting.clear();
    };
    for line in lines {
        match line {
            Line::Signal(signal) => waiting.push(Signal::clone(signal)),
            Line::Time(at) => {
                settle(&mut job, &mut waiting, &mut dice);
                job.time(*at);
            }
        }
    }
    settle(&mut job, &mut waiting, &mut dice);
    job.outcome()
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
