//! Dedupe by example: signals in, transitions out, and what became of every item.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;

use dsl::Line;
use model::{Signal, topics};
use operators::dedupe::{Dedupe, DedupeSettings};
use rig::{Dice, Rig, signals};

fn dedupe() -> Rig<Dedupe> {
    Rig::new(|| {
        Dedupe::new(&DedupeSettings {
            max_episodes: 4,
            ..DedupeSettings::default()
        })
    })
}

fn show(signal: &Signal) -> String {
    let transition = signal.transition.unwrap();
    assert_eq!(transition.episode, signal.row().episode());
    let mut text = format!(
        "{} {}@{}",
        transition.kind.as_str(),
        signal.dedup_key,
        signal.event_at / 1_000_000
    );
    if let Some(end) = signal.ends_at {
        text += &format!("..{}", end / 1_000_000);
    }
    if transition.repeats > 0 {
        text += &format!(" after {} repeats", transition.repeats);
    }
    text
}

fn run(rig: &mut Rig<Dedupe>, input: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in dsl::lines(input) {
        let records = match line {
            Line::Signal(signal) => rig.feed(&[*signal]),
            Line::Time(at) => rig.watermark(at),
        };
        out.extend(signals(&records).iter().map(show));
    }
    out
}

/// Input lines, expected transitions, expected repeats; straight and killed after every step.
fn check(input: &str, expected: &[&str], repeats: u64) {
    for mut rig in [dedupe(), dedupe().mortal()] {
        assert_eq!(run(&mut rig, input), expected, "{input}");
        assert_eq!(rig.total(|counts| counts.merged), repeats, "repeats of {input}");
    }
}

#[test]
fn a_firing_is_forwarded_once() {
    check("fire a @10", &["new a@10"], 0);
    check("fire a @10\n fire a @10\n fire a @10", &["new a@10"], 2);
    check("fire a @10\n fire b @10", &["new a@10", "new b@10"], 0);
}

#[test]
fn changed_content_is_an_update_once() {
    check(
        "fire a @10 text=1\n fire a @10 text=2",
        &["new a@10", "updated a@10"],
        0,
    );
    check(
        "fire a @10 text=1\n fire a @10 text=2\n fire a @10 text=1\n fire a @10 text=2",
        &["new a@10", "updated a@10"],
        2,
    );
}

#[test]
fn an_end_is_forwarded_once_and_again_if_later() {
    check(
        "fire a @10\n end a @10 until=20\n end a @10 until=20",
        &["new a@10", "resolved a@10..20"],
        1,
    );
    check(
        "fire a @10\n end a @10 until=20\n end a @10 until=15",
        &["new a@10", "resolved a@10..20"],
        1,
    );
    check(
        "fire a @10\n end a @10 until=20\n end a @10 until=30",
        &["new a@10", "resolved a@10..20", "resolved a@10..30"],
        0,
    );
    check(
        "fire a @10\n fire a @10\n end a @10 until=20",
        &["new a@10", "resolved a@10..20 after 1 repeats"],
        1,
    );
}

#[test]
fn a_new_start_reopens() {
    check(
        "fire a @10\n end a @10 until=20\n fire a @30\n end a @30 until=40",
        &["new a@10", "resolved a@10..20", "reopened a@30", "resolved a@30..40"],
        0,
    );
}

#[test]
fn firing_after_its_end_does_not_fire_again() {
    check(
        "fire a @10\n end a @10 until=20\n fire a @10",
        &["new a@10", "resolved a@10..20"],
        1,
    );
    check(
        "fire a @10\n end a @10 until=20\n fire a @10 text=2",
        &["new a@10", "resolved a@10..20", "updated a@10"],
        0,
    );
}

#[test]
fn an_early_end_waits_for_its_firing() {
    check("end a @10 until=20", &[], 0);
    check("end a @10 until=20\n fire a @10", &["new a@10", "resolved a@10..20"], 0);
    check(
        "end a @10 until=20\n end a @10 until=20\n fire a @10",
        &["new a@10", "resolved a@10..20"],
        1,
    );
    check(
        "end a @10 until=25\n end a @10 until=20\n fire a @10",
        &["new a@10", "resolved a@10..25"],
        1,
    );
    check(
        "end a @10 until=20\n end a @10 until=25\n fire a @10",
        &["new a@10", "resolved a@10..25"],
        1,
    );
    check(
        "end a @10 until=20\n time 319\n fire a @10",
        &["new a@10", "resolved a@10..20"],
        0,
    );
}

#[test]
fn an_early_end_goes_alone_when_the_wait_is_over() {
    check("end a @10 until=20\n time 320", &["resolved a@10..20"], 0);
    check(
        "end a @10 until=20\n time 320\n end a @10 until=20",
        &["resolved a@10..20"],
        1,
    );
    check("time 320\n end a @10 until=20", &["resolved a@10..20"], 0);
    // The firing is late by more than the wait: told all the same, and ended at once.
    check(
        "end a @10 until=20\n time 320\n fire a @10",
        &["resolved a@10..20", "new a@10", "resolved a@10..20"],
        0,
    );
}

#[test]
fn events_pass_once() {
    check(
        "note d @10 kind=change\n note d @10 kind=change\n note d @20 kind=change",
        &["new d@10", "new d@20"],
        1,
    );
    check("note d @10\n time 345610\n note d @10", &["new d@10", "new d@10"], 0);
    check("note d @10\n time 345609\n note d @10", &["new d@10"], 1);
}

#[test]
fn ended_episodes_are_forgotten_and_firing_ones_are_not() {
    let mut rig = dedupe();
    run(&mut rig, "fire a @10\n end a @10 until=20\n fire b @10\n time 259219");
    assert_eq!(run(&mut rig, "fire a @10\n fire b @10"), [""; 0]);
    run(&mut rig, "time 259220");
    assert_eq!(run(&mut rig, "fire b @10"), [""; 0]);
    assert_eq!(rig.entries(), 1, "only b is known");
    run(&mut rig, "end b @10 until=300000\n time 900000");
    assert_eq!(rig.entries(), 0);
}

#[test]
fn room_is_made_by_forgetting_the_oldest_ended() {
    let mut rig = dedupe();
    run(
        &mut rig,
        "fire a @1\n fire a @2\n end a @2 until=3\n fire a @4\n fire a @5\n fire a @6",
    );
    assert_eq!(
        run(&mut rig, "fire a @1\n fire a @4\n fire a @5\n fire a @6"),
        [""; 0],
        "repeats: known"
    );
    run(&mut rig, "fire a @2");
    assert_eq!(
        rig.total(|counts| counts.suppressed.get("episode-forgotten").copied().unwrap_or(0)),
        1
    );
    assert_eq!(
        run(&mut rig, "end a @2 until=3"),
        ["resolved a@2..3"],
        "an end is never lost"
    );
}

#[test]
fn a_parked_end_that_must_make_room_goes_out() {
    let mut rig = dedupe();
    let out = run(
        &mut rig,
        "end a @1 until=2\n end a @3 until=4\n end a @5 until=6\n end a @7 until=8\n end a @9 until=10",
    );
    assert_eq!(out, ["resolved a@1..2"]);
    assert_eq!((rig.held, rig.released), (5, 1));
}

#[test]
fn the_watermark_is_held_back_for_what_is_parked() {
    let mut rig = dedupe();
    run(&mut rig, "end a @10 until=200\n end b @10 until=100\n time 350");
    assert_eq!(rig.progress().0, 100_000_000);
    run(&mut rig, "time 400");
    assert_eq!(rig.progress().0, 200_000_000);
    run(&mut rig, "fire a @10");
    assert_eq!(rig.progress().0, 400_000_000);
}

#[test]
fn changes_and_security_signals_have_public_projections() {
    let mut rig = dedupe();
    run(
        &mut rig,
        "note d @10 kind=change svc=shop\n note d @10 kind=change svc=shop\n note s @11 kind=security\n fire a @12",
    );
    let seen: Vec<(&str, serde_json::Value)> = rig
        .side
        .iter()
        .map(|(topic, record)| (topic.as_ref(), serde_json::from_slice(&record.value).unwrap()))
        .collect();
    assert_eq!(
        seen.iter().map(|(topic, _)| *topic).collect::<Vec<_>>(),
        [topics::DEPLOYMENTS, topics::COMPLIANCE]
    );
    assert_eq!(seen[0].1["service"], "shop");
    assert_eq!(seen[0].1["labels"]["a"], "b");
    assert_eq!(seen[0].1["at"], "1970-01-01T00:00:10Z");
}

#[test]
fn late_rows_are_taken_in_and_counted() {
    let mut rig = dedupe();
    assert_eq!(
        run(&mut rig, "time 500\n fire a @10\n fire a @10\n fire b @500"),
        ["new a@10", "new b@500"]
    );
    assert_eq!(rig.total(|counts| counts.amended), 1);
}

#[test]
fn what_names_no_firing_is_about_the_one_that_fires() {
    check(
        "trigger a @10\n trigger a @20\n ack a @25\n ack a @26\n clear a @30",
        &[
            "new a@10",
            "acknowledged a@10 after 1 repeats",
            "resolved a@10..30 after 2 repeats",
        ],
        2,
    );
    check(
        "trigger a @10 text=1\n trigger a @20 text=2",
        &["new a@10", "updated a@10"],
        0,
    );
    check(
        "trigger a @10\n clear a @20\n trigger a @30\n clear a @40",
        &["new a@10", "resolved a@10..20", "reopened a@30", "resolved a@30..40"],
        0,
    );
    // Overtaken by its end; and told twice.
    check(
        "trigger a @10\n clear a @20\n trigger a @15\n clear a @20",
        &["new a@10", "resolved a@10..20"],
        2,
    );
    check(
        "trigger a @10\n clear a @20\n ack a @15",
        &["new a@10", "resolved a@10..20", "acknowledged a@10"],
        0,
    );
}

#[test]
fn what_comes_before_its_trigger_waits_for_it() {
    check("clear a @20\n ack a @15", &[], 0);
    check(
        "clear a @20\n ack a @15\n trigger a @10",
        &["new a@10", "acknowledged a@10", "resolved a@10..20"],
        0,
    );
    // By receipt the trigger looks younger than its end.
    check("clear a @10\n trigger a @12", &["new a@12", "resolved a@12..12"], 0);
    check("ack a @10\n trigger a @12", &["new a@12", "acknowledged a@12"], 0);
    check("trigger a @12\n clear a @10", &["new a@12", "resolved a@12..12"], 0);
    // Too old for that, and not of an alert that was on before: then it is about nothing that is known.
    check("clear a @10\n trigger a @311", &["new a@311"], 0);
    check(
        "trigger a @10\n clear a @20\n clear a @30\n trigger a @31",
        &["new a@10", "resolved a@10..20", "reopened a@31"],
        0,
    );
    check(
        "trigger a @10\n clear a @20\n clear a @40\n trigger a @31",
        &["new a@10", "resolved a@10..20", "reopened a@31", "resolved a@31..40"],
        0,
    );
    check(
        "clear a @20\n clear a @22\n clear a @18\n trigger a @10",
        &["new a@10", "resolved a@10..18"],
        2,
    );
}

#[test]
fn what_waited_in_vain_lies_on_the_late_topic() {
    for mut rig in [dedupe(), dedupe().mortal()] {
        run(&mut rig, "clear a @20\n ack a @15\n ack b @30\n time 314");
        assert_eq!((rig.held, rig.released, rig.side.len()), (3, 0, 0));
        assert_eq!(rig.progress().0, 15_000_000, "event time waits with them");
        run(&mut rig, "time 330\n clear c @20");
        let late = |rig: &Rig<Dedupe>| rig.total(|counts| counts.late_by.get("no-trigger").copied().unwrap_or(0));
        assert_eq!((rig.held, rig.released, late(&rig)), (3, 3, 4));
        let lost: Vec<Signal> = rig
            .side
            .iter()
            .inspect(|(topic, _)| assert_eq!(**topic, *topics::LATE))
            .flat_map(|(_, record)| signals(std::slice::from_ref(record)))
            .collect();
        let said: Vec<(&str, &str)> = lost.iter().map(|s| (s.dedup_key.as_str(), s.state.as_str())).collect();
        let expected = [
            ("a", "acknowledged"),
            ("a", "cleared"),
            ("b", "acknowledged"),
            ("c", "cleared"),
        ];
        assert_eq!(said, expected, "whole, as they came");
        assert_eq!(run(&mut rig, "trigger a @400"), ["new a@400"]);
    }
}

#[test]
fn nobody_floods_one_alert_with_what_waits() {
    let mut rig = dedupe();
    let flood: Vec<String> = (0..40).map(|n| format!("ack a @10 text={n}")).collect();
    run(&mut rig, &flood.join("\n"));
    assert_eq!((rig.held, rig.total(|counts| counts.late)), (16, 24));
    let told = run(&mut rig, "trigger a @10");
    assert_eq!(told.len(), 17, "{told:?}");
}

#[test]
fn a_term_ends_what_is_not_said_again() {
    check("fire a @10 until=100\n time 99", &["new a@10"], 0);
    check(
        "fire a @10 until=100\n time 100",
        &["new a@10", "resolved a@10..100"],
        0,
    );
    check(
        "fire a @10 until=100\n fire a @10 until=160\n fire a @10 until=130\n time 159\n time 160",
        &["new a@10", "resolved a@10..160 after 2 repeats"],
        2,
    );
    // By a door that states no term, too; and a stated end is stronger.
    check(
        "fire a @10\n fire a @10 until=100\n fire a @10\n time 100",
        &["new a@10", "resolved a@10..100 after 2 repeats"],
        2,
    );
    check(
        "fire a @10 until=100\n end a @10 until=50\n time 200",
        &["new a@10", "resolved a@10..50"],
        0,
    );
    check(
        "end a @10 until=50\n fire a @10 until=100\n time 400",
        &["new a@10", "resolved a@10..50"],
        0,
    );
    // Terms of two firings of one alert.
    check(
        "fire a @10 until=100\n fire a @50 until=200\n time 300",
        &["new a@10", "reopened a@50", "resolved a@10..100", "resolved a@50..200"],
        0,
    );
    check(
        "trigger a @10 until=100\n trigger a @40 until=140\n time 140",
        &["new a@10", "resolved a@10..140 after 1 repeats"],
        1,
    );
}

#[test]
fn what_expired_and_is_said_again_was_on_all_along() {
    check(
        "fire a @10 until=100\n time 100\n fire a @10 until=160\n time 160",
        &[
            "new a@10",
            "resolved a@10..100",
            "revived a@10",
            "resolved a@10..160 after 1 repeats",
        ],
        0,
    );
    // No later term, or none: it says nothing new.
    check(
        "fire a @10 until=100\n time 100\n fire a @10 until=100\n fire a @10",
        &["new a@10", "resolved a@10..100"],
        2,
    );
    // Its end was stated after that.
    check(
        "fire a @10 until=100\n time 100\n end a @10 until=90\n fire a @10 until=300",
        &["new a@10", "resolved a@10..100"],
        2,
    );
    check(
        "fire a @10 until=100\n time 100\n end a @10 until=120\n fire a @10 until=300",
        &["new a@10", "resolved a@10..100", "resolved a@10..120"],
        1,
    );
}

#[test]
fn terms_are_forgotten_with_their_alerts() {
    let mut rig = dedupe();
    run(
        &mut rig,
        "fire a @10 until=100\n fire b @10 until=100\n end b @10 until=50\n time 100",
    );
    assert!(rig.entries() > 0);
    run(&mut rig, "time 259300\n time 259301");
    assert_eq!(rig.entries(), 0);
    assert_eq!(
        rig.total(|counts| counts.produced.get("expiry").copied().unwrap_or(0)),
        1
    );
}

#[test]
fn settings_are_read_strictly() {
    let read = |text: &str| serde_json::from_str::<DedupeSettings>(text).map_err(|error| error.to_string());
    assert_eq!(read("{}"), Ok(DedupeSettings::default()));
    assert_eq!(
        read(r#"{"early_resolve_wait":"1m"}"#)
            .unwrap()
            .early_resolve_wait
            .get()
            .as_secs(),
        60
    );
    assert!(
        read(r#"{"early_resolve":"1m"}"#)
            .unwrap_err()
            .contains("unknown field `early_resolve`")
    );
}

#[test]
fn batches_may_be_cut_anywhere() {
    let input: Vec<Signal> = (0..200)
        .map(|i| {
            let mut dice = Dice(i);
            let at = 10 * dice.below(5);
            match dice.below(3) {
                0 => format!("end k{} @{at} until={}", dice.below(7), at + dice.below(30)),
                _ => format!("fire k{} @{at} text={}", dice.below(7), dice.below(3)),
            }
        })
        .map(|line| dsl::signal(&line))
        .collect();
    let whole: Vec<Signal> = {
        let mut rig = dedupe();
        let mut out = signals(&rig.feed(&input));
        out.extend(signals(&rig.watermark(10_000)));
        out
    };
    assert!(whole.len() > 50);
    for seed in 0..50 {
        let (mut rig, mut dice, mut out, mut rest) = (dedupe().mortal(), Dice(seed), Vec::new(), &input[..]);
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(1 + dice.below(rest.len().min(9)));
            out.extend(signals(&rig.feed(batch)));
            rest = more;
        }
        out.extend(signals(&rig.watermark(10_000)));
        assert_eq!(out, whole, "seed {seed}");
        assert_eq!(rig.held, rig.released, "nothing is owed at the end");
    }
}
