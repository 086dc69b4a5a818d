//! The topology: topics, stages and sinks, in one place that can be read on one screen.
//!
//! ```text
//! events.raw ─ normalize ─► signals ─ dedupe ─► transitions ─ correlate ─► incidents
//!                                       └─► deployments, compliance           └─► notifications
//! every stage ─► dead-letter, accounting        signals, incidents, … ─► store (SQL), archive (Parquet)
//! ```

use std::sync::Arc;
use std::time::Duration;

use model::{DeadLetter, dead_letter, topics};
use operators::correlate::Correlate;
use operators::dedupe::Dedupe;
use operators::normalize::Normalize;
use sha2::{Digest as _, Sha256};
use stream::driver::{Mode, Runtime, Stage, StageError, run_stage};
use stream::partition::PARTITIONER;
use stream::progress::IngressPolicy;
use stream::task::{DeadLetters, Refused, Role, TaskSettings};
use stream::{NewRecord, Operator, TopicSpec};
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The shape of this run: what snapshots are named by and what topics must exist.
#[derive(Clone)]
pub struct Topology {
    pub partitions: u32,
    policy: IngressPolicy,
    hash: String,
}

type StageFuture = std::pin::Pin<Box<dyn Future<Output = Result<(), StageError>> + Send>>;

/// A stage that can be run: the registration list below is the only place that names them.
pub struct StageEntry {
    pub name: &'static str,
    pub input: &'static str,
    pub run: fn(&Topology, &Config, Drive) -> StageFuture,
}

/// How to run a stage.
pub struct Drive {
    pub runtime: Runtime,
    pub mode: Mode,
    pub stop: CancellationToken,
}

/// The stages, upstream first.
pub const STAGES: &[StageEntry] = &[
    StageEntry {
        name: "normalize",
        input: topics::EVENTS_RAW,
        run: |topology, config, drive| {
            let settings = config.normalize.clone();
            let make = move || Normalize::new(settings.clone());
            topology.stage(topics::EVENTS_RAW, topics::SIGNALS, Entry::Ingress, drive, make)
        },
    },
    StageEntry {
        name: "dedupe",
        input: topics::SIGNALS,
        run: |topology, config, drive| {
            let settings = config.dedupe.clone();
            let make = move || Dedupe::new(&settings);
            topology.stage(topics::SIGNALS, topics::TRANSITIONS, Entry::Downstream, drive, make)
        },
    },
    StageEntry {
        name: "correlate",
        input: topics::TRANSITIONS,
        run: |topology, config, drive| {
            let settings = config.correlate.clone();
            let make = move || Correlate::new(&settings);
            topology.stage(topics::TRANSITIONS, topics::INCIDENTS, Entry::Downstream, drive, make)
        },
    },
];

enum Entry {
    Ingress,
    Downstream,
}

impl Topology {
    pub fn new(config: &Config) -> Self {
        let partitions = config.partitions();
        let mut hash = Sha256::new();
        hash.update(PARTITIONER);
        for topic in topics::ALL {
            hash.update(format!("{topic}:{partitions};"));
        }
        for stage in STAGES {
            hash.update(format!("{};", stage.name));
        }
        let hash: String = hash
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Topology {
            partitions,
            policy: config.ingress_policy(),
            hash,
        }
    }

    /// Every topic that must exist.
    pub fn topics(&self, config: &Config) -> Vec<TopicSpec> {
        topics::ALL
            .iter()
            .map(|name| TopicSpec {
                name: (*name).into(),
                partitions: self.partitions,
                retention: config.retention(name),
            })
            .collect()
    }

    fn stage<O: Operator>(
        &self,
        input: &str,
        output: &str,
        entry: Entry,
        drive: Drive,
        make: impl Fn() -> O + Send + Sync + 'static,
    ) -> StageFuture {
        let stage = Stage {
            input: input.into(),
            settings: self.task_settings(output, entry),
            make: Box::new(move |_| make()),
            call: None,
        };
        Box::pin(run_stage(stage, drive.runtime, drive.mode, drive.stop))
    }

    fn task_settings(&self, output: &str, entry: Entry) -> TaskSettings {
        TaskSettings {
            topology: self.hash.clone(),
            role: match entry {
                Entry::Ingress => Role::Ingress(self.policy),
                // Every topic has the same number of partitions, so upstream has as many tasks as this stage.
                Entry::Downstream => Role::Downstream {
                    upstream_partitions: self.partitions,
                },
            },
            output: (output.into(), self.partitions),
            sides: topics::ALL
                .iter()
                .map(|name| ((*name).into(), self.partitions))
                .collect(),
            accounting: topics::ACCOUNTING.into(),
            dead_letters: dead_letters(),
            progress_step: PROGRESS_STEP,
        }
    }
}

/// Event time must move this far before it alone is worth a commit. Lower: timers fire sooner on an idle system;
/// higher: fewer records on an idle log, and a partition on which nothing happens holds the others back by as much.
const PROGRESS_STEP: Duration = Duration::from_secs(1);

/// Payload of the dead-letter topic.
pub fn dead_letters() -> DeadLetters {
    DeadLetters {
        topic: topics::DEAD_LETTER.into(),
        encode: Arc::new(encode_dead_letter),
    }
}

fn encode_dead_letter(refused: &Refused<'_>) -> NewRecord {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let letter = DeadLetter {
        schema: DeadLetter::SCHEMA,
        stage: refused.stage.to_owned(),
        reason: refused.reject.reason.to_owned(),
        detail: refused.reject.detail.clone(),
        field: refused.reject.field.clone(),
        topic: refused.from.topic.to_string(),
        partition: refused.from.partition,
        offset: refused.record.offset.0,
        index: refused.reject.index,
        received_at: refused.record.timestamp.to_datetime(),
        attempt: refused
            .record
            .header(dead_letter::header::ATTEMPT)
            .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok())
            .unwrap_or(1),
        headers: refused
            .record
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect(),
        body_base64: match refused.with_body {
            true => DeadLetter::encode_body(&refused.record.value),
            false => String::new(),
        },
    };
    // A struct of strings and numbers always encodes.
    NewRecord {
        value: serde_json::to_vec(&letter).unwrap_or_default().into(),
        ..NewRecord::default()
    }
}
