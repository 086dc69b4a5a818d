//! The operator of `docs/guides/adding-an-operator.md`: it does what the guide says, and the guide shows it as it is.

#[path = "guide/bursts.rs"]
mod bursts;
#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;

use std::path::PathBuf;
use std::time::Duration;

use bursts::{Burst, Bursts};
use model::topics;
use rig::{Dice, Rig, json};
use stream::Instant;

const SECOND: i64 = 1_000_000;

fn rig() -> Rig<Bursts> {
    Rig::new(|| Bursts::new(Duration::from_secs(60)))
}

fn run(rig: &mut Rig<Bursts>, input: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in dsl::lines(input) {
        let records = match line {
            dsl::Line::Signal(signal) => rig.feed(&[*signal]),
            dsl::Line::Time(at) => rig.watermark(at),
        };
        for burst in json::<Burst>(&records) {
            let (first, last) = (burst.first_at / SECOND, burst.last_at / SECOND);
            found.push(format!("{} {first}-{last} {}", burst.service, burst.alerts));
        }
    }
    found
}

// What follows stands in the guide.
#[test]
fn bursts_end_by_silence() {
    let check = |input: &str, expected: &[&str]| {
        assert_eq!(run(&mut rig(), input), expected, "{input}");
        // Killed and restored after every step.
        assert_eq!(run(&mut rig().mortal(), input), expected, "{input}");
    };
    check("fire a @100 svc=s\n fire b @159 svc=s\n time 218", &[]);
    check("fire a @100 svc=s\n fire b @159 svc=s\n time 219", &["s 100-159 2"]);
    // The gap lies between: two bursts. A row between them makes them one.
    check(
        "fire a @100 svc=s\n fire b @160 svc=s\n time 999",
        &["s 100-100 1", "s 160-160 1"],
    );
    check(
        "fire a @100 svc=s\n fire b @160 svc=s\n fire c @130 svc=s\n time 999",
        &["s 100-160 3"],
    );
    check(
        "fire a @100 svc=s\n fire b @100 svc=r\n fire c @100\n time 160",
        &["r 100-100 1", "s 100-100 1"],
    );
}

#[test]
fn a_row_whose_burst_is_over_is_late_and_the_watermark_waits_for_an_open_one() {
    let mut rig = rig();
    assert_eq!(
        run(&mut rig, "fire a @100 svc=s\n time 160\n fire b @100 svc=s"),
        ["s 100-100 1"]
    );
    assert_eq!(rig.total(|counts| counts.late), 1);
    assert_eq!(rig.side[0].0.as_ref(), topics::LATE);
    run(&mut rig, "fire c @170 svc=s\n time 200");
    assert_eq!(rig.progress(), Instant(170 * SECOND));
}

#[test]
fn any_order_gives_the_same_bursts() {
    let input: Vec<model::Signal> = (0..60)
        .map(|n| dsl::signal(&format!("fire a{n} @{} svc=s{}", n * n * 7 % 1_000, n % 3)))
        .collect();
    let all = |seed: u64| {
        let (mut rig, mut dice, mut input) = (rig().mortal(), Dice(seed), input.clone());
        dice.shuffle(&mut input);
        for batch in input.chunks(1 + dice.below(9)) {
            assert!(rig.feed(batch).is_empty());
        }
        let found: Vec<Burst> = json(&rig.watermark_at(Instant::MAX));
        assert_eq!((rig.entries(), rig.held), (0, rig.released));
        found
    };
    let reference = all(0);
    assert!(reference.len() > 3, "{reference:?}");
    for seed in 1..50 {
        assert_eq!(all(seed), reference, "seed {seed}");
    }
}
// Up to here.

#[test]
fn the_guide_shows_these_files() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
    let guide = read("../docs/guides/adding-an-operator.md");
    let operator = read("tests/guide/bursts.rs");
    let this = read("tests/adding_an_operator.rs");
    let tests = this
        .split_once("// What follows stands in the guide.\n")
        .and_then(|(_, rest)| rest.split_once("// Up to here.\n"))
        .expect("both marks")
        .0;
    for (what, text) in [("tests/guide/bursts.rs", operator.as_str()), ("its tests", tests)] {
        let block = format!("```rust\n{}\n```\n", text.trim_end());
        assert!(
            guide.contains(&block),
            "docs/guides/adding-an-operator.md does not show {what} as it is"
        );
    }
}
