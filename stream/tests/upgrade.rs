//! A stage that starts on what another program, or other settings, left behind: taken over exactly, or refused before
//! anything is written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stream::driver::{Mode, Runtime, Stage, run_stage};
use stream::health::Health;
use stream::log::memory::MemoryLog;
use stream::operator::{JsonRows, MigrateError};
use stream::snapshot::{FaultySnapshots, MemorySnapshots, SnapshotStore, StoreFault, generations, retention_floor};
use stream::state::{SavedCells, StateCell};
use stream::task::{DeadLetters, Role, TaskSettings};
use stream::time::WallClock;
use stream::{
    Context, Disposition, Log, NewRecord, Offset, Operator, Record, Reject, Table, TopicPartition, TopicSpec,
};
use tokio_util::sync::CancellationToken;

/// Numbers the occurrences of each word. Version 2 counts in steps and keeps `i64`; version 3 reads nothing older.
struct Count {
    version: u32,
    step: u64,
    old: Table<String, u64>,
    new: Table<String, i64>,
}

impl Operator for Count {
    type In = String;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "count"
    }

    fn logic_version(&self) -> u32 {
        self.version
    }

    fn settings(&self) -> String {
        format!(r#"{{"step":{}}}"#, self.step)
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<String, Reject> {
        Ok(String::from_utf8_lossy(&record.value).into_owned())
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        match self.version {
            1 => vec![("words", &mut self.old)],
            _ => vec![("words", &mut self.new)],
        }
    }

    fn migrate(&mut self, from: u32, cells: &SavedCells) -> Result<(), MigrateError> {
        if (from, self.version) != (1, 2) {
            return Err(MigrateError::NoWay { from });
        }
        let mut old = Table::<String, u64>::default();
        cells.read("words", &mut old)?;
        for (word, count) in old.sorted() {
            self.new.insert(word.clone(), -(*count as i64));
        }
        Ok(())
    }

    fn on_batch(&mut self, word: &String, cx: &mut Context<'_, JsonRows>) {
        let count = if self.version == 1 {
            let count = self.old.entry(word.clone()).or_default();
            *count += self.step;
            count.to_string()
        } else {
            let count = self.new.entry(word.clone()).or_default();
            *count -= self.step as i64;
            count.to_string()
        };
        cx.emit(word.as_bytes(), &Bytes::from(format!("{word}:{count}")));
        cx.item(Disposition::Forwarded);
    }
}

struct World {
    log: MemoryLog,
    snapshots: Arc<FaultySnapshots<MemorySnapshots>>,
}

impl World {
    async fn new() -> Self {
        let log = MemoryLog::new();
        let topics: Vec<TopicSpec> = ["in", "out", "dead-letter", "accounting"]
            .map(|name| TopicSpec {
                name: name.into(),
                partitions: 1,
                retention: Default::default(),
            })
            .into();
        log.ensure_topics(&topics).await.unwrap();
        World {
            log,
            snapshots: Arc::new(FaultySnapshots::new(MemorySnapshots::default())),
        }
    }

    async fn feed(&self, words: &[&str]) {
        for word in words {
            let record = NewRecord {
                value: Bytes::from((*word).to_owned()),
                ..NewRecord::default()
            };
            self.log
                .append(&TopicPartition::new("in", 0), vec![record])
                .await
                .unwrap();
        }
    }

    /// Runs program `version` with `step` to the end of the input.
    async fn run(&self, version: u32, step: u64) -> Result<(), String> {
        let stage = Stage {
            input: "in".into(),
            settings: TaskSettings {
                topology: "test".into(),
                role: Role::Downstream { upstream_partitions: 1 },
                output: ("out".into(), 1),
                sides: vec![("dead-letter".into(), 1), ("accounting".into(), 1)],
                accounting: "accounting".into(),
                dead_letters: DeadLetters {
                    topic: "dead-letter".into(),
                    encode: Arc::new(|refused| NewRecord {
                        value: refused.record.value.clone(),
                        ..NewRecord::default()
                    }),
                },
                progress_step: Duration::from_secs(1),
            },
            make: Box::new(move |_| Count {
                version,
                step,
                old: Table::default(),
                new: Table::default(),
            }),
            call: None,
            keyed: None,
        };
        let runtime = Runtime {
            log: Arc::new(self.log.clone()),
            snapshots: self.snapshots.clone(),
            clock: Arc::new(WallClock),
            health: Health::default(),
            snapshot_every: Duration::from_secs(3600),
        };
        let mode = Mode::ToEnd { past: None };
        run_stage(stage, runtime, mode, CancellationToken::new())
            .await
            .map_err(|e| e.to_string())
    }

    async fn out(&self) -> Vec<String> {
        let mut reader = self
            .log
            .reader(&TopicPartition::new("out", 0), Offset(0))
            .await
            .unwrap();
        let (records, _) = reader.read(1000, Duration::from_millis(1)).await.unwrap();
        let data = records.iter().filter(|r| stream::progress::is_data(r));
        data.map(|r| String::from_utf8_lossy(&r.value).into_owned()).collect()
    }

    /// Offsets of the snapshots, newest first, each with the logic version that took it.
    async fn kept(&self) -> Vec<(u64, u32)> {
        let found = generations(self.snapshots.as_ref(), "count", 0).await.unwrap();
        found
            .iter()
            .filter(|generation| generation.complete)
            .map(|generation| (generation.manifest.offset.0, generation.manifest.identity.logic_version))
            .collect()
    }
}

#[tokio::test]
async fn a_new_logic_migrates_the_snapshot_at_the_committed_offset() {
    let world = World::new().await;
    world.feed(&["a", "a", "b"]).await;
    world.run(1, 1).await.unwrap();
    world.feed(&["a", "b"]).await;
    world.run(2, 1).await.unwrap();
    assert_eq!(world.out().await, ["a:1", "a:2", "b:1", "a:-3", "b:-2"]);
    assert_eq!(world.kept().await, [(5, 2), (3, 2), (3, 1)]);
    // The old program may not go on behind what the new one emitted.
    world.feed(&["a"]).await;
    let refused = world.run(1, 1).await.unwrap_err();
    assert!(refused.contains("no migration from logic version 2"), "{refused}");
    world.run(2, 1).await.unwrap();
    assert_eq!(world.out().await.last().unwrap(), "a:-4");
}

#[tokio::test]
async fn right_after_a_migration_the_previous_program_can_still_go_on() {
    let world = World::new().await;
    world.feed(&["a", "a"]).await;
    world.run(1, 1).await.unwrap();
    world.run(2, 1).await.unwrap();
    world.feed(&["a"]).await;
    world.run(1, 1).await.unwrap();
    assert_eq!(world.out().await, ["a:1", "a:2", "a:3"]);
}

#[tokio::test]
async fn what_cannot_be_migrated_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    world.feed(&["a"]).await;
    world.run(1, 1).await.unwrap();
    world.feed(&["a"]).await;
    let (out, kept) = (world.out().await, world.kept().await);
    let refused = world.run(3, 1).await.unwrap_err();
    assert!(refused.contains("no migration from logic version 1"), "{refused}");
    assert_eq!((world.out().await, world.kept().await), (out, kept));
}

#[tokio::test]
async fn other_settings_or_logic_need_a_snapshot_at_the_committed_offset() {
    let world = World::new().await;
    world.feed(&["a"]).await;
    world.run(1, 1).await.unwrap();
    world.feed(&["a"]).await;
    // The stop goes wrong: what is committed last has no snapshot.
    world.snapshots.script([StoreFault::DiskFull]);
    world.run(1, 1).await.unwrap();
    world.feed(&["a"]).await;
    let refused = world.run(1, 10).await.unwrap_err();
    assert!(refused.contains("step was 1, is 10"), "{refused}");
    let refused = world.run(2, 1).await.unwrap_err();
    assert!(refused.contains("start the previous program once more"), "{refused}");
    // The remedy that it names.
    world.run(1, 1).await.unwrap();
    world.feed(&["a", "a"]).await;
    world.run(1, 10).await.unwrap();
    assert_eq!(world.out().await, ["a:1", "a:2", "a:3", "a:13", "a:23"]);
}

#[tokio::test]
async fn a_migrated_state_that_cannot_be_stored_emits_nothing() {
    let world = World::new().await;
    world.feed(&["a"]).await;
    world.run(1, 1).await.unwrap();
    world.feed(&["a"]).await;
    world.snapshots.script([StoreFault::DiskFull]);
    assert!(world.run(2, 1).await.unwrap_err().contains("no space left"));
    assert_eq!(world.out().await, ["a:1"]);
    world.run(2, 1).await.unwrap();
    assert_eq!(world.out().await, ["a:1", "a:-2"]);
}

#[tokio::test]
async fn any_fault_of_the_store_at_any_write_costs_only_replay() {
    use StoreFault::{AnswerLost, DiskFull, None as Well, Torn};
    // Two writes per snapshot: the object, then the manifest.
    for fault in [Torn, DiskFull, AnswerLost] {
        for at in 0..8 {
            let world = World::new().await;
            let mut script = vec![Well; 8];
            script[at] = fault;
            world.snapshots.script(script);
            let mut expected = Vec::new();
            for round in 1..=5 {
                world.feed(&["a", "b"]).await;
                world.run(1, 1).await.unwrap();
                expected.extend([format!("a:{round}"), format!("b:{round}")]);
            }
            assert_eq!(world.out().await, expected, "{fault:?} at write {at}");
        }
    }
}

#[tokio::test]
async fn retention_waits_for_a_snapshot_that_shares_nothing_with_the_newest() {
    let world = World::new().await;
    let bound = i64::from(world.snapshots.chain_bound().max_deltas);
    let mut floors = Vec::new();
    for _ in 0..bound + 2 {
        world.feed(&["a"]).await;
        world.run(1, 1).await.unwrap();
        floors.push(retention_floor(world.snapshots.as_ref(), "count", 0).await.unwrap());
    }
    let before = |floor: &Option<Offset>| floor.is_none();
    assert!(floors[..=bound as usize].iter().all(before), "{floors:?}");
    // The chain is full, a base follows: the last of the chain is the second one to rely on.
    assert_eq!(floors.last().unwrap(), &Some(Offset(bound as u64 + 1)));
}
