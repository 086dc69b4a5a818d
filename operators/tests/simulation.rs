//! The product's drivers, tasks and operators in simulated weather: see `stream::simulation`.
//!
//! `make test` runs 2,000 schedules, `make simulate` 100,000 (`AEGIS_TEST_SIM_SCHEDULES`). `AEGIS_TEST_SIM_PLAN` and
//! `AEGIS_TEST_SIM_SEED` replay one. What once failed is kept in `simulation/kept_seeds.txt` and replayed by name.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
mod rig;
#[path = "support/storms.rs"]
mod storms;

#[path = "simulation/asking.rs"]
mod asking;
#[path = "simulation/chain.rs"]
mod chain;
#[path = "simulation/event_time.rs"]
mod event_time;
#[path = "simulation/incidents.rs"]
mod incidents;
#[path = "simulation/ingress.rs"]
mod ingress;
#[path = "simulation/lines.rs"]
mod lines;
#[path = "simulation/rows.rs"]
mod rows;
#[path = "simulation/script.rs"]
mod script;
#[path = "simulation/senders.rs"]
mod senders;
#[path = "simulation/windows.rs"]
mod windows;

use std::str::FromStr;

use stream::simulation::{Dice, Outcome, Plan, simulate, simulate_calm};

/// Schedules of `make test`, over all plans.
const SCHEDULES: u64 = 2_000;
/// A plan's schedules are split into so many tests, which run side by side.
const PARTS: u64 = 2;

type Make = fn(&mut Dice) -> Plan;

/// Every plan, and how many percent of the schedules are its.
const PLANS: [(&str, Make, u64); 7] = [
    ("chain", chain::plan, 25),
    ("incidents", incidents::plan, 25),
    ("ingress", ingress::plan, 10),
    ("senders", senders::plan, 12),
    ("asking", asking::plan, 12),
    ("windows", windows::plan, 8),
    ("lines", lines::plan, 8),
];

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    match value.parse() {
        Ok(value) => Some(value),
        Err(_) => panic!("{name}={value} cannot be read"),
    }
}

fn plan(name: &str) -> (Make, u64) {
    let found = PLANS.iter().find(|(known, ..)| *known == name);
    let (_, make, percent) = found.unwrap_or_else(|| panic!("no plan {name}: {:?}", PLANS.map(|(name, ..)| name)));
    (*make, *percent)
}

fn run(name: &str, seed: u64) -> Outcome {
    simulate(seed, plan(name).0).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Runs one part of a plan's schedules.
fn check(name: &str, part: u64) {
    if let Some(seed) = setting("AEGIS_TEST_SIM_SEED") {
        if part == 0 && setting::<String>("AEGIS_TEST_SIM_PLAN").is_none_or(|wanted| wanted == name) {
            println!("{name} {seed}: {:?}", run(name, seed));
        }
        return;
    }
    let schedules = setting("AEGIS_TEST_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let from = setting("AEGIS_TEST_SIM_FROM").unwrap_or(0);
    let seeds = schedules * plan(name).1 / 100 / PARTS;
    let (mut faults, mut crashes, mut hours) = (0, 0, 0.0);
    for done in 0..seeds {
        let outcome = run(name, from + done * PARTS + part);
        faults += outcome.faults;
        crashes += outcome.crashes;
        hours += outcome.simulated.as_secs_f64() / 3_600.0;
        if (done + 1) % 500 == 0 {
            println!(
                "{name} part {part}: {} of {seeds} schedules, {faults} faults, {crashes} crashes, {hours:.1} h of simulated time",
                done + 1
            );
        }
    }
    // A weather without faults would prove nothing.
    assert!(
        seeds < 20 || (crashes > 0 && faults > seeds),
        "{faults} faults, {crashes} crashes"
    );
}

#[test]
fn chain_part_1() {
    check("chain", 0);
}

#[test]
fn chain_part_2() {
    check("chain", 1);
}

#[test]
fn incidents_part_1() {
    check("incidents", 0);
}

#[test]
fn incidents_part_2() {
    check("incidents", 1);
}

#[test]
fn ingress_part_1() {
    check("ingress", 0);
}

#[test]
fn ingress_part_2() {
    check("ingress", 1);
}

#[test]
fn senders_part_1() {
    check("senders", 0);
}

#[test]
fn senders_part_2() {
    check("senders", 1);
}

#[test]
fn windows_part_1() {
    check("windows", 0);
}

#[test]
fn windows_part_2() {
    check("windows", 1);
}

#[test]
fn asking_part_1() {
    check("asking", 0);
}

#[test]
fn asking_part_2() {
    check("asking", 1);
}

#[test]
fn lines_part_1() {
    check("lines", 0);
}

#[test]
fn lines_part_2() {
    check("lines", 1);
}

/// Every pair of the reference, over random windows, reaches, jitters and partition counts.
#[test]
fn the_chain_returns_every_pair() {
    let mut pairs = 0;
    for seed in 0..1_000 {
        let plan = |dice: &mut Dice| {
            let shape = chain::Shape {
                partitions: [1, 2, 4][dice.below(3)],
                window: [5, 30, 60, 600][dice.below(4)],
                before: [0, 10, 300, 3_600][dice.below(4)],
                jitter: 1 + dice.below(300),
                signals: 20 + dice.below(150),
                trouble: 0,
            };
            chain::plan_of(dice, &shape)
        };
        // What is asserted is that the pairs are those of plain loops: see `Plan::expected`.
        let (_, contents) = simulate_calm(seed, plan).unwrap_or_else(|failure| panic!("{failure}"));
        pairs += rows::data(&contents, "pairs").count();
    }
    println!("{pairs} pairs, all of the reference and no other");
    assert!(pairs > 50_000, "{pairs} pairs prove little");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for (name, ..) in PLANS {
        for seed in 0..10 {
            assert_eq!(run(name, seed), run(name, seed), "plan {name}, seed {seed}");
        }
    }
}

/// What once failed: a plan and a seed a line, and what it was behind a `#`.
#[test]
fn kept_seeds() {
    let mut count = 0;
    for line in include_str!("simulation/kept_seeds.txt").lines() {
        let case = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = case.split_whitespace().collect();
        match words[..] {
            [] => continue,
            [name, seed] => run(name, seed.parse().unwrap()),
            _ => panic!("kept_seeds.txt: {line}"),
        };
        count += 1;
    }
    assert!(count > 0, "no seed is kept");
}
