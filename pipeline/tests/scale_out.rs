//! Two `aegis` processes share one Kafka and one PostgreSQL and die by turns, each time at another place. Afterwards
//! every alert that was answered with 2xx stands once, and the books balance.
//!
//! Five runs of ten deaths, three side by side; `AEGIS_TEST_LONG=1` makes it a hundred deaths a run.

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stream::failpoint::PLACES;
use support::alerts::{Promised, send, titles_of};
use support::{Aegis, database, required, wait_for};

const RUNS: usize = 5;
/// Runs side by side: each is two processes with some forty clients of Kafka.
const AT_ONCE: usize = 3;
const DEATHS: usize = 10;
const DEATHS_LONG: usize = 100;
/// The shortest that the brokers allow by default: how long the group waits for a dead member.
const SESSION_TIMEOUT_MS: u32 = 6_000;
/// A place that is not reached within this time is not reached at all. Ten processes start and die on few cores: a start alone takes half a minute then.
const REACHED: Duration = Duration::from_secs(240);

/// Where each of the deaths of run `run` happens: over all runs every place has its turn, at its first, second, … time.
fn deaths(run: usize) -> VecDeque<String> {
    let count = match std::env::var("AEGIS_TEST_LONG").is_ok_and(|long| long == "1") {
        true => DEATHS_LONG,
        false => DEATHS,
    };
    let number = |death: usize| run * count + death;
    (0..count)
        .map(|death| {
            let n = number(death);
            let (place, _) = PLACES[n % PLACES.len()];
            // Few partitions are taken away in a run.
            let count = if place == "stage.revoked" {
                1
            } else {
                1 + (n / PLACES.len()) % 3
            };
            format!("{place}:{count}")
        })
        .collect()
}

/// What the two processes of a run know of each other.
struct Plan {
    deaths: Mutex<VecDeque<String>>,
    /// One waits for a partition to be taken from it: the other must be away until the group has noticed.
    wants_revocation: AtomicBool,
}

/// One process: whenever it has died it is started again, to die at the next place in the queue. Returns how often it died
/// at which place. The last start is not armed.
fn die_by_turns(aegis: &mut Aegis, plan: &Plan) -> BTreeMap<String, usize> {
    let mut died = BTreeMap::new();
    loop {
        let next = plan.deaths.lock().unwrap().pop_front();
        if plan.wants_revocation.swap(false, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(u64::from(SESSION_TIMEOUT_MS) + 2_000));
        }
        if next.as_ref().is_some_and(|place| place.starts_with("stage.revoked:")) {
            plan.wants_revocation.store(true, Ordering::SeqCst);
        }
        let Some(place) = next else {
            aegis.set_env("AEGIS_TEST_FAILPOINT", None);
            aegis.start();
            return died;
        };
        aegis.set_env("AEGIS_TEST_FAILPOINT", Some(&place));
        aegis.spawn();
        let program = aegis.program.as_mut().expect("started");
        wait_for(&format!("death at {place}"), REACHED, || {
            (!program.running()).then_some(())
        });
        *died.entry(place).or_default() += 1;
    }
}

async fn run(number: usize) {
    let (Some(kafka), Some(postgres)) = (required("AEGIS_TEST_KAFKA"), required("AEGIS_TEST_POSTGRES")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let url = database(&postgres, "scale_out").await;
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let snapshots = folder.path().join("snapshots");
    let process = |name: &str| new_process(&folder.path().join(name), &snapshots, &kafka, &prefix, &url);
    let (mut one, mut two) = (process("one"), process("two"));
    // The first start creates topics and tables.
    one.start();
    one.kill();
    let ports = [one.dispatcher, two.dispatcher];
    let promised = Arc::new(Promised::default());
    let senders: Vec<_> = (0..2)
        .map(|_| {
            let promised = promised.clone();
            std::thread::spawn(move || send(&promised, &ports))
        })
        .collect();
    let plan = Plan {
        deaths: Mutex::new(deaths(number)),
        wants_revocation: AtomicBool::new(false),
    };
    let died = std::thread::scope(|scope| {
        let other = scope.spawn(|| die_by_turns(&mut two, &plan));
        let mut died = die_by_turns(&mut one, &plan);
        for (place, count) in other.join().expect("the other process") {
            *died.entry(place).or_default() += count;
        }
        died
    });
    promised.stop();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    println!("run {number}: {} alerts answered, deaths {died:?}", promised.count());
    let wanted = promised.titles();
    wait_for("every answered alert", Duration::from_secs(120), || {
        let found: BTreeSet<String> = titles_of(&one).into_iter().collect();
        wanted.is_subset(&found).then_some(())
    });
    let all = titles_of(&one);
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "an alert stands twice");
    let refused = one.sql("select count(*) as n from dead_letters");
    assert_eq!(refused[0]["n"], 0, "nothing is refused");
    let mut codes = Vec::new();
    for aegis in [&mut one, &mut two] {
        codes.push(aegis.program.as_mut().map(support::Program::terminate));
    }
    assert_eq!(codes, [Some(Some(0)); 2]);
    let (code, out, err) = one.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "the books balance:\n{out}\n{err}");
}

/// `folder` is the process's own, `snapshots` is where both restore from.
fn new_process(folder: &Path, snapshots: &Path, kafka: &str, prefix: &str, url: &str) -> Aegis {
    let extra = format!(
        "[snapshots]\nurl = \"file://{}\"\n[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}\"\nsession_timeout_ms = {SESSION_TIMEOUT_MS}\n[topics]\npartitions = 4\n[store]\nurl = \"{url}\"\n",
        snapshots.display()
    );
    Aegis::new(folder, &extra).env("AEGIS_DATA__SNAPSHOT_EVERY", "1s")
}

/// Several at once, whatever the number of threads for tests: what they do most is wait for groups to notice a death.
#[test]
fn whoever_dies_where_every_alert_stands_once() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for place in 0..AT_ONCE {
            let next = &next;
            let runs = move || {
                let runtime = tokio::runtime::Runtime::new().expect("a runtime");
                loop {
                    match next.fetch_add(1, Ordering::SeqCst) {
                        number if number < RUNS => runtime.block_on(run(number)),
                        _ => return,
                    }
                }
            };
            let thread = std::thread::Builder::new().name(format!("place {place}"));
            thread.spawn_scoped(scope, runs).expect("a thread");
        }
    });
}

#[test]
fn over_all_runs_the_process_dies_at_every_place() {
    let all: BTreeSet<String> = (0..RUNS).flat_map(deaths).collect();
    for (place, _) in PLACES {
        assert!(
            all.iter().any(|death| death.starts_with(&format!("{place}:"))),
            "{place}"
        );
    }
}
