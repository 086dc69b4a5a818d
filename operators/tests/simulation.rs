//! The product's drivers, tasks and operators in simulated weather: see `stream::simulation`.
//!
//! `make test` runs 2,000 schedules, `make simulate` 100,000 (`AEGIS_TEST_SIM_SCHEDULES`). `AEGIS_TEST_SIM_PLAN` and
//! `AEGIS_TEST_SIM_SEED` replay one. What once failed is kept in `simulation/kept_seeds.txt` and replayed by name.

#[path = "support/dsl.rs"]
mod dsl;
#[path = "support/rig.rs"]
#[allow(dead_code)] // Only its encoder and its dice.
mod rig;
#[path = "support/storms.rs"]
mod storms;

#[path = "simulation/chain.rs"]
mod chain;
#[path = "simulation/incidents.rs"]
mod incidents;
#[path = "simulation/rows.rs"]
mod rows;
#[path = "simulation/script.rs"]
mod script;

use std::str::FromStr;

use stream::simulation::{Dice, Outcome, Plan, simulate};

/// Schedules of `make test`, over all plans.
const SCHEDULES: u64 = 2_000;
/// A plan's schedules are split into so many tests, which run side by side.
const PARTS: u64 = 2;

type Make = fn(&mut Dice) -> Plan;

/// Every plan, and how many percent of the schedules are its.
const PLANS: [(&str, Make, u64); 2] = [("chain", chain::plan, 50), ("incidents", incidents::plan, 50)];

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
