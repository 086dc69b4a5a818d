//! Senders whose time is out of the ordinary, on the real drivers under simulated time: nothing of theirs is lost, nobody
//! else is stalled by more than two seconds of event time, and each case is counted by its cause.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use model::{SignalBatch, topics};
use stream::accounting::AccountingRecord;
use stream::progress::{IngressPolicy, Upstreams, progress_of};
use stream::simulation::{Contents, Plan, Step, simulate_calm};
use stream::{Instant, TopicPartition};

use crate::ingress::{POLICY, WINDOW, alert, body, clock, plan_of, plan_under};
use crate::rows::data;

/// Counts `aegis_sender_trouble_total` by cause.
#[derive(Default)]
struct Causes(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for Causes {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() != "aegis_sender_trouble_total" {
            return Counter::noop();
        }
        let cause = key.labels().find(|label| label.key() == "cause").unwrap();
        let mut causes = self.0.lock().unwrap();
        Counter::from_arc(causes.entry(cause.value().to_owned()).or_default().clone())
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

const MINUTES: u64 = 20;
/// How often the steady sender speaks.
const EVERY: Duration = Duration::from_secs(5);
/// How far the event clock may fall behind on account of others.
const STALL: Duration = Duration::from_secs(2);

/// A sender that is always on time, on partition 0.
fn steady() -> Vec<Step> {
    (1..MINUTES as u32 * 12)
        .map(|i| body(EVERY * i, 0, &[alert("steady", "steady", "steady", clock(EVERY * i))]))
        .collect()
}

/// What a run shows.
struct Seen {
    contents: Contents,
    causes: Vec<String>,
}

fn run(partitions: u32, mut script: Vec<Step>) -> Seen {
    script.sort_by_key(|step| step.at);
    run_plan(&plan_of(partitions, script, false))
}

fn run_plan(plan: &Plan) -> Seen {
    let causes = Causes::default();
    let ran = metrics::with_local_recorder(&causes, || simulate_calm(1, |_| plan.clone()));
    let (_, contents) = ran.unwrap_or_else(|failure| panic!("{failure}"));
    let counted = causes.0.into_inner().unwrap();
    Seen {
        contents,
        causes: counted
            .into_iter()
            .filter(|(_, count)| count.load(Ordering::SeqCst) > 0)
            .map(|(cause, _)| cause)
            .collect(),
    }
}

impl Seen {
    /// The event clock as the stage behind normalize hears it: (wall clock, watermark).
    fn clock(&self, partitions: u32) -> Vec<(Instant, Instant)> {
        let mut heard = Upstreams::new(partitions);
        let words = &self.contents[&TopicPartition::new(topics::SIGNALS, 0)];
        let mut clock = Vec::new();
        for word in words.iter().filter_map(progress_of) {
            heard.hear(&word);
            clock.push((word.tick_at.unwrap(), heard.watermark()));
        }
        clock
    }

    /// What became of the items of `window_dedupe`: forwarded, merged, late, still held.
    fn dispositions(&self) -> [u64; 4] {
        let mut sum = [0; 4];
        for record in data(&self.contents, topics::ACCOUNTING) {
            let record: AccountingRecord = serde_json::from_slice(&record.value).unwrap();
            if record.stage == "window_dedupe" {
                let counts = record.counts;
                sum[0] += counts.forwarded;
                sum[1] += counts.merged;
                sum[2] += counts.late;
                sum[3] += counts.held;
                sum[3] -= counts.released;
            }
        }
        sum
    }

    fn count(&self, topic: &str, name: &str) -> usize {
        data(&self.contents, topic)
            .map(|record| SignalBatch::decode(&record.value).unwrap())
            .map(|batch| batch.rows().filter(|row| row.title == name).count())
            .sum()
    }
}

/// Beside the steady sender, `odd` sends; nobody's event clock may fall behind (or run ahead of) that of a world without.
fn check(partitions: u32, odd: Vec<Step>, cause: &str) -> Seen {
    let (alone, together) = (run(1, steady()), run(partitions, [steady(), odd].concat()));
    assert!(
        together.causes.contains(&cause.to_owned()),
        "{:?} are counted, {cause} is not",
        together.causes
    );
    let (expected, found) = (alone.clock(1), together.clock(partitions));
    let second = Duration::from_secs(1);
    let warm = clock(Duration::from_secs(120));
    let last = clock(Duration::from_secs(60 * MINUTES - 60));
    let watermark_at = |clock: &[(Instant, Instant)], at: Instant| {
        let told = clock.iter().rev().find(|(told_at, _)| *told_at <= at);
        told.map_or(Instant::MIN, |(_, watermark)| *watermark)
    };
    let mut compared = 0;
    let mut at = warm;
    while at < last {
        // Words are half a second apart, and those of the two worlds not at the same moments.
        let least = watermark_at(&expected, at.saturating_sub(second)).saturating_sub(STALL - second);
        // Between two of its alerts
        // the steady sender's own clock stands still for five seconds; others may let time pass.
        let most = watermark_at(&expected, at.saturating_add(second)).saturating_add(STALL + EVERY);
        let watermark = watermark_at(&found, at);
        assert!(
            (least..=most).contains(&watermark),
            "{cause}: at {at} the event clock shows {watermark}, not {least} to {most}"
        );
        compared += 1;
        at = at.saturating_add(second);
    }
    assert!(compared > 900, "{compared}");
    together
}

fn every_ten_seconds(minutes: u64, partition: u32, at: impl Fn(Duration) -> Instant) -> Vec<Step> {
    (1..minutes * 6)
        .map(|i| Duration::from_secs(10 * i))
        .map(|now| body(now, partition, &[alert("odd", "odd", "odd", at(now))]))
        .collect()
}

#[test]
fn a_sender_that_lags_ten_minutes() {
    let lagging = every_ten_seconds(MINUTES, 0, |now| clock(now).saturating_sub(Duration::from_secs(600)));
    let count = lagging.len();
    let seen = check(1, lagging, "lagging");
    // The first ones come before there is a clock to be late by.
    let late = seen.count(topics::LATE, "odd");
    assert!(late > count - 12, "{late} of {count} are late");
    let [_, _, accounted, held] = seen.dispositions();
    assert_eq!((accounted, held), (late as u64, 0));
    assert_eq!(seen.count(topics::SIGNALS, "odd"), count);
}

#[test]
fn a_sender_that_went_silent() {
    // In the steady sender's partition, and alone in another.
    for partitions in [1, 2] {
        let silent = every_ten_seconds(5, partitions - 1, clock);
        let count = silent.len();
        let seen = check(partitions, silent, "silent");
        assert_eq!(seen.count(topics::SIGNALS, "odd"), count);
        assert_eq!(seen.dispositions()[2..], [0, 0]);
    }
}

#[test]
fn a_partition_that_nobody_ever_wrote_to() {
    let seen = check(2, Vec::new(), "unheard");
    assert_eq!(seen.dispositions()[2..], [0, 0]);
}

#[test]
fn a_sender_in_the_year_2100() {
    let year_2100 = Instant(4_102_444_800_000_000);
    let ahead = every_ten_seconds(MINUTES, 0, |now| year_2100.saturating_add(now));
    let count = ahead.len();
    let seen = check(1, ahead, "ahead");
    assert_eq!(seen.count(topics::SIGNALS, "odd"), count);
    // They wait in their windows; nobody else's window closed early for them.
    let [_, _, late, held] = seen.dispositions();
    assert_eq!((late, held), (0, MINUTES));
}

#[test]
fn a_window_closes_without_a_later_alert() {
    let at = Duration::from_secs(5);
    let seen = run(2, vec![body(at, 0, &[alert("only", "only", "only", clock(at))])]);
    assert_eq!(seen.count("deduped", "only"), 1);
    let first_close = seen.contents[&TopicPartition::new(topics::SIGNALS, 0)]
        .iter()
        .filter_map(progress_of)
        .find(|word| word.watermark >= clock(at).saturating_add(WINDOW));
    assert!(first_close.is_some());
}

/// A row is late by its age when it comes, the same in a partition that was empty until then as in a busy one.
#[test]
fn the_first_row_of_an_empty_partition_is_as_late_as_any_other() {
    // The event clock shows what the wall clock shows, less lateness and hold: a minute and a half second.
    let (event_at, window_closes) = (Duration::from_millis(539_900), Duration::from_millis(600_500));
    for (at, late) in [
        (window_closes - Duration::from_millis(500), 0),
        (window_closes + Duration::from_millis(1_500), 1),
    ] {
        for busy in [false, true] {
            let mut script = steady();
            if busy {
                script.extend(every_ten_seconds(MINUTES, 1, clock));
            }
            script.push(body(at, 1, &[alert("first", "first", "first", clock(event_at))]));
            let seen = run(2, script);
            let found = (seen.count("deduped", "first"), seen.count(topics::LATE, "first"));
            assert_eq!(found, (1 - late, late), "at {at:?}, busy: {busy}");
        }
    }
}

/// A replay faster than life through a running daemon: with a hold as long as the recording nobody leaves anybody behind, and
/// a partition that is empty when it starts holds the others like every other one.
#[test]
fn a_replay_faster_than_life_may_begin_with_empty_partitions() {
    let recorded = |i: u32| {
        clock(Duration::ZERO)
            .saturating_sub(Duration::from_secs(7_200))
            .saturating_add(EVERY * i)
    };
    // An hour in each partition, told in three seconds, one after the other.
    let script = (0..3u32).flat_map(|partition| {
        (0..720u32).map(move |i| {
            let at = Duration::from_secs(5) * (partition + 1) + Duration::from_millis(4) * i;
            let name = format!("replayed-{partition}-{}", i % 7);
            body(at, partition, &[alert("replay", &name, &name, recorded(i))])
        })
    });
    let year = Duration::from_secs(365 * 86_400);
    let policy = IngressPolicy {
        max_hold: year,
        idle_after: year,
        ..POLICY
    };
    let plan = Plan {
        // Event time is the recording's, and ends with it.
        final_at: Instant::MIN,
        ..plan_under(policy, 3, script.collect(), false)
    };
    let seen = run_plan(&plan);
    let [forwarded, merged, late, held] = seen.dispositions();
    assert_eq!((forwarded + merged + held, late), (3 * 720, 0));
}
