//! `window_dedupe` → `interval_join`, alone and chained, against a brute-force answer.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Signal, SignalKind, topics};
use operators::interval_join::{IntervalJoin, Pair};
use operators::window_dedupe::WindowDedupe;
use rig::{Dice, Rig, json, signals};
use stream::Instant;

const SECOND: i64 = 1_000_000;

fn windows() -> Rig<WindowDedupe> {
    Rig::new(|| WindowDedupe::new(Duration::from_secs(60)))
}

fn join() -> Rig<IntervalJoin> {
    Rig::new(|| IntervalJoin::new(Duration::from_secs(300)))
}

fn run(rig: &mut Rig<WindowDedupe>, input: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in dsl::lines(input) {
        let records = match line {
            dsl::Line::Signal(signal) => rig.feed(&[*signal]),
            dsl::Line::Time(at) => rig.watermark(at),
        };
        out.extend(
            signals(&records)
                .iter()
                .map(|s| format!("{}@{}", s.dedup_key, s.event_at / SECOND)),
        );
    }
    out
}

#[test]
fn the_earliest_of_a_window_survives() {
    let check = |input: &str, expected: &[&str]| {
        assert_eq!(run(&mut windows(), input), expected, "{input}");
        assert_eq!(run(&mut windows().mortal(), input), expected, "{input}");
    };
    check("fire a @65\n fire a @61\n fire a @119", &[]);
    check("fire a @65\n fire a @61\n fire a @119\n time 119", &[]);
    check("fire a @65\n fire a @61\n fire a @119\n time 120", &["a@61"]);
    check(
        "fire b @65\n fire a @121\n fire a @61\n time 180",
        &["a@61", "b@65", "a@121"],
    );
    check("fire a @65\n note d @1 kind=change\n time 120", &["d@1", "a@65"]);
}

#[test]
fn a_row_of_a_closed_window_goes_to_the_late_topic_whole() {
    let mut rig = windows();
    assert_eq!(run(&mut rig, "time 120\n fire a @65\n fire a @120"), [""; 0]);
    assert_eq!(rig.total(|counts| counts.late), 1);
    let (topic, record) = &rig.side[0];
    assert_eq!(topic.as_ref(), topics::LATE);
    assert_eq!(signals(std::slice::from_ref(record)), [dsl::signal("fire a @65")]);
    assert_eq!(record.headers[0].1, "window_dedupe");
}

#[test]
fn the_watermark_waits_for_the_open_window() {
    let mut rig = windows();
    run(&mut rig, "fire a @65\n time 110");
    assert_eq!(rig.progress(), Instant(60 * SECOND));
    run(&mut rig, "time 120");
    assert_eq!(rig.progress(), Instant(120 * SECOND));
    assert_eq!((rig.held, rig.released), (1, 1));
}

#[test]
fn pairs_lie_within_the_interval_and_leave_no_state_behind() {
    let check = |input: &str, expected: &[(i64, i64)]| {
        for mut rig in [join(), join().mortal()] {
            let mut pairs: Vec<(i64, i64)> = Vec::new();
            for line in dsl::lines(input) {
                let records = match line {
                    dsl::Line::Signal(signal) => rig.feed(&[*signal]),
                    dsl::Line::Time(at) => rig.watermark(at),
                };
                pairs.extend(
                    json::<Pair>(&records)
                        .iter()
                        .map(|p| (p.left_at / SECOND, p.right_at / SECOND)),
                );
            }
            assert_eq!(pairs, expected, "{input}");
            rig.watermark_at(Instant::MAX);
            assert_eq!(rig.entries(), 0, "{input}");
        }
    };
    check(
        "note d @100 kind=change svc=s\n fire a @400 svc=s\n fire b @401 svc=s",
        &[(400, 100)],
    );
    check(
        "fire a @400 svc=s\n note d @100 kind=change svc=s\n note d @99 kind=change svc=s",
        &[(400, 100)],
    );
    check(
        "fire a @400 svc=s\n note d @400 kind=change svc=s\n note d @401 kind=change svc=s",
        &[(400, 400)],
    );
    check(
        "fire a @400 svc=s\n note d @400 kind=change svc=other\n note d @400 kind=change",
        &[],
    );
    // At the edges of what may be pruned.
    check(
        "note d @100 kind=change svc=s\n time 400\n fire a @400 svc=s",
        &[(400, 100)],
    );
    check(
        "fire a @400 svc=s\n time 400\n note d @400 kind=change svc=s",
        &[(400, 400)],
    );
    check("fire a @400 svc=s\n time 401\n note d @400 kind=change svc=s", &[]);
}

#[test]
fn a_row_whose_partners_may_be_gone_is_late_and_one_that_meets_them_all_is_amended() {
    // Lateness in seconds; pairs, rows amended, rows late.
    let check = |lateness: u64, input: &str, pairs: &[(i64, i64)], amended: u64, late: u64| {
        let make = move || IntervalJoin::new(Duration::from_secs(300)).with_lateness(Duration::from_secs(lateness));
        for mut rig in [Rig::new(make), Rig::new(make).mortal()] {
            let mut found: Vec<(i64, i64)> = Vec::new();
            let mut last = None;
            for line in dsl::lines(input) {
                let records = match line {
                    dsl::Line::Signal(signal) => {
                        last = Some(*signal.clone());
                        rig.feed(&[*signal])
                    }
                    dsl::Line::Time(at) => rig.watermark(at),
                };
                let pairs = json::<Pair>(&records);
                found.extend(pairs.iter().map(|p| (p.left_at / SECOND, p.right_at / SECOND)));
            }
            assert_eq!(found, pairs, "{input}");
            let counts = (rig.total(|counts| counts.amended), rig.total(|counts| counts.late));
            assert_eq!(counts, (amended, late), "{input}");
            if late > 0 {
                let (topic, record) = rig.side.last().unwrap();
                assert_eq!(topic.as_ref(), topics::LATE);
                assert_eq!(signals(std::slice::from_ref(record)), [last.unwrap()], "whole");
                let headers: Vec<&[u8]> = record.headers.iter().map(|(_, value)| value.as_ref()).collect();
                assert_eq!(headers[..2], [&b"interval_join"[..], b"partners-gone"]);
                let by_cause = rig.total(|counts| counts.late_by.get("partners-gone").copied().unwrap_or(0));
                assert_eq!(by_cause, late);
            } else {
                assert!(rig.side.is_empty());
            }
            rig.watermark_at(Instant::MAX);
            assert_eq!(rig.entries(), 0, "{input}");
        }
    };
    // Exactly at the watermark is on time.
    check(
        0,
        "fire a @400 svc=s\n time 400\n note d @400 kind=change svc=s",
        &[(400, 400)],
        0,
        0,
    );
    check(
        0,
        "fire a @400 svc=s\n time 401\n note d @400 kind=change svc=s",
        &[],
        0,
        1,
    );
    // The other side, and a partner that happens to be there still: half an answer is none.
    check(
        0,
        "note d @350 kind=change svc=s\n time 401\n fire a @400 svc=s",
        &[],
        0,
        1,
    );
    // Within the lateness every partner is there, at its edge as well.
    check(
        60,
        "fire a @400 svc=s\n time 455\n note d @395 kind=change svc=s",
        &[(400, 395)],
        1,
        0,
    );
    check(
        60,
        "fire a @400 svc=s\n time 456\n note d @395 kind=change svc=s",
        &[],
        0,
        1,
    );
    check(
        60,
        "note d @100 kind=change svc=s\n time 460\n fire a @400 svc=s",
        &[(400, 100)],
        1,
        0,
    );
    check(
        60,
        "note d @100 kind=change svc=s\n time 461\n fire a @400 svc=s",
        &[],
        0,
        1,
    );
}

#[test]
fn any_time_that_fits_is_survived() {
    let (mut first, mut second) = (windows().mortal(), join().mortal());
    let mut found = Vec::new();
    for at in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        for line in ["fire a @0 svc=s", "note d @0 kind=change svc=s"] {
            let signal = Signal {
                event_at: at,
                effective_at: at,
                ..dsl::signal(line)
            };
            found.extend(feed(&mut second, &signals(&first.feed(&[signal]))));
        }
    }
    found.extend(feed(&mut second, &signals(&first.watermark_at(Instant::MAX))));
    second.watermark_at(Instant::MAX);
    assert_eq!((first.entries(), second.entries()), (0, 0));
    let apart = |pair: &Pair| pair.left_at - pair.right_at;
    assert!(
        found.iter().all(|pair| (0..=300 * SECOND).contains(&apart(pair))),
        "{found:?}"
    );
}

/// The job of the reference bench, small: alerts with up to 5 s of jitter, changes, brute force.
#[test]
fn the_chain_finds_every_pair_under_jitter() {
    for seed in 0..20 {
        let mut dice = Dice(seed);
        let mut input: Vec<Signal> = Vec::new();
        for i in 0..1_500_i64 {
            let at = 600 + i / 2 - dice.below(5) as i64;
            let service = dice.below(4);
            let line = match dice.below(12) {
                0 => format!("note d{service} @{} kind=change svc=s{service} text={i}", at - 300),
                _ => format!("fire a{service}-{} @{at} svc=s{service} text={i}", dice.below(3)),
            };
            input.push(dsl::signal(&line));
        }
        let expected = brute_force(&input);
        assert!(expected.len() > 1_000, "{}", expected.len());

        let (mut first, mut second) = (windows(), join());
        (first.mortal, second.mortal) = (seed % 4 == 0, seed % 4 == 0);
        let mut found = Vec::new();
        let mut remaining: BTreeMap<i64, usize> = BTreeMap::new();
        input
            .iter()
            .for_each(|s| *remaining.entry(s.effective_at).or_default() += 1);
        let mut rest = &input[..];
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(1 + dice.below(rest.len().min(20)));
            found.extend(feed(&mut second, &signals(&first.feed(batch))));
            for signal in batch {
                let count = remaining.get_mut(&signal.effective_at).unwrap();
                *count -= 1;
                if *count == 0 {
                    remaining.remove(&signal.effective_at);
                }
            }
            rest = more;
            // The tightest watermark that is still true.
            let watermark = remaining
                .first_key_value()
                .map_or(Instant(100_000 * SECOND), |(at, _)| Instant(*at));
            found.extend(feed(&mut second, &signals(&first.watermark_at(watermark))));
            found.extend(json::<Pair>(&second.watermark_at(first.progress())));
        }
        let unique: BTreeSet<Pair> = found.iter().cloned().collect();
        assert_eq!(unique.len(), found.len(), "seed {seed}: no pair twice");
        assert_eq!(unique, expected, "seed {seed}");
        assert_eq!(first.total(|counts| counts.late), 0);
        assert_eq!(
            second.total(|counts| counts.amended),
            0,
            "seed {seed}: nothing falls behind"
        );
        assert_eq!(first.held, first.released);
        assert_eq!(second.entries(), 0);
    }
}

fn feed(rig: &mut Rig<IntervalJoin>, rows: &[Signal]) -> Vec<Pair> {
    if rows.is_empty() {
        Vec::new()
    } else {
        json(&rig.feed(rows))
    }
}

fn brute_force(input: &[Signal]) -> BTreeSet<Pair> {
    let mut survivors: BTreeMap<(&str, i64), &Signal> = BTreeMap::new();
    let (changes, alerts): (Vec<&Signal>, Vec<&Signal>) = input.iter().partition(|s| s.kind == SignalKind::Change);
    for alert in alerts {
        let slot = survivors
            .entry((&alert.dedup_key, alert.event_at.div_euclid(60 * SECOND)))
            .or_insert(alert);
        if (alert.event_at, alert.id) < (slot.event_at, slot.id) {
            *slot = alert;
        }
    }
    let mut pairs = BTreeSet::new();
    for left in survivors.values() {
        for right in &changes {
            let apart = left.event_at - right.event_at;
            if left.service == right.service && (0..=300 * SECOND).contains(&apart) {
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
