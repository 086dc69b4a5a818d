//! The stages of the product on a log in memory, one process, to the end of the input.
#![allow(dead_code)] // Each test binary uses its own part.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pipeline::config::Config;
use pipeline::topology::{Drive, STAGES, Topology};
use stream::driver::{Mode, Runtime};
use stream::health::Health;
use stream::log::memory::MemoryLog;
use stream::log::{Commit, MemberEvent, NewRecord, Record};
use stream::snapshot::FolderSnapshots;
use stream::time::ManualClock;
use stream::{Instant, Log, Offset, TopicPartition};
use tokio_util::sync::CancellationToken;

/// 2026-11-24T00:00:00Z, after every time in the recordings.
pub const NOW: Instant = Instant(1_795_478_400_000_000);

pub struct Pipeline {
    pub memory: MemoryLog,
    pub log: Arc<dyn Log>,
    pub config: Config,
    pub clock: Arc<ManualClock>,
    snapshots: tempfile::TempDir,
}

impl Pipeline {
    pub async fn new(partitions: u32) -> Self {
        let mut config = Config::default();
        config.topics.partitions = partitions;
        let memory = MemoryLog::new();
        let log: Arc<dyn Log> = Arc::new(memory.clone());
        log.ensure_topics(&Topology::new(&config).topics(&config))
            .await
            .unwrap();
        Pipeline {
            memory,
            log,
            config,
            clock: Arc::new(ManualClock::at(NOW)),
            snapshots: tempfile::tempdir().unwrap(),
        }
    }

    /// Appends a body to a partition of `events.raw`.
    pub async fn raw(&self, partition: u32, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Offset {
        let record = NewRecord {
            value: body.into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
                .collect(),
            timestamp: NOW,
            ..NewRecord::default()
        };
        let to = TopicPartition::new(model::topics::EVENTS_RAW, partition);
        self.log.append(&to, vec![record]).await.unwrap()
    }

    /// Every stage, until nothing is left to read. With `past`, event time goes on by so much afterwards.
    pub async fn run(&self, past: Option<Duration>) {
        let topology = Topology::new(&self.config);
        let runtime = Runtime {
            log: self.log.clone(),
            snapshots: Arc::new(FolderSnapshots::new(self.snapshots.path().to_owned())),
            clock: self.clock.clone(),
            health: Health::default(),
            snapshot_every: Duration::from_secs(3_600),
        };
        for stage in STAGES {
            let drive = Drive {
                runtime: runtime.clone(),
                mode: Mode::ToEnd { past },
                stop: CancellationToken::new(),
            };
            stage.run(&topology, &self.config, drive).await.unwrap();
        }
    }

    /// All records of a partition.
    pub async fn records(&self, topic: &str, partition: u32) -> Vec<Record> {
        let at = TopicPartition::new(topic, partition);
        let bounds = self.log.bounds(&at).await.unwrap();
        let mut reader = self.log.reader(&at, bounds.start).await.unwrap();
        let (mut all, mut next) = (Vec::new(), bounds.start);
        while next < bounds.end {
            let (records, to) = reader.read(1_000, Duration::from_secs(1)).await.unwrap();
            all.extend(records);
            next = to;
        }
        all
    }

    /// Another log with the same records and positions, but for what `change` makes of each record.
    pub async fn copy(&self, mut change: impl FnMut(&str, u32, &Record) -> Vec<NewRecord>) -> Arc<dyn Log> {
        let copy: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let topology = Topology::new(&self.config);
        copy.ensure_topics(&topology.topics(&self.config)).await.unwrap();
        for topic in model::topics::ALL {
            for partition in 0..self.config.topics.partitions {
                let records = self.records(topic, partition).await;
                let changed: Vec<NewRecord> = records
                    .iter()
                    .flat_map(|record| change(topic, partition, record))
                    .collect();
                if !changed.is_empty() {
                    copy.append(&TopicPartition::new(*topic, partition), changed)
                        .await
                        .unwrap();
                }
            }
        }
        for stage in STAGES {
            let group = format!("aegis.{}", stage.name);
            let mut positions = Vec::new();
            for partition in 0..self.config.topics.partitions {
                let input = TopicPartition::new(stage.input, partition);
                positions.extend(self.log.committed(&group, &input).await.unwrap().map(|at| (input, at)));
            }
            let mut member = copy.join(&group, &[stage.input.into()]).await.unwrap();
            while !matches!(
                member.next(Duration::from_secs(1)).await.unwrap(),
                Some(MemberEvent::Assigned(_))
            ) {}
            let outputs = Vec::new();
            member.commit(Commit { outputs, positions }).await.unwrap();
            member.leave().await.unwrap();
        }
        copy
    }
}

/// The record as it is.
pub fn same(record: &Record) -> NewRecord {
    NewRecord {
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        timestamp: record.timestamp,
    }
}

/// A record that takes its place and is nobody's data.
pub fn blank() -> NewRecord {
    NewRecord {
        headers: vec![("aegis-kind".to_owned(), Bytes::from_static(b"blank"))],
        ..NewRecord::default()
    }
}
