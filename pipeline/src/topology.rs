//! The topology: topics, stages and sinks, in one place that can be read on one screen.
//!
//! ```text
//! events.raw ─ normalize ─► signals ─ dedupe ─► transitions ─ correlate ─► incidents ─ crew ─► remediations ─ gate ─► ledger
//!       logs ─ templates ─►    ┘        └─► deployments, compliance  ▲         └─► notifications
//!                   └─► lines ─► archive                             └─ commands ─┘ (crew, gateway)
//! every stage ─► dead-letter, accounting        signals, incidents, … ─► store (SQL), archive (Parquet)
//! ```

use std::sync::Arc;
use std::time::Duration;

use model::approval::Policy;
use model::{DeadLetter, Signer, dead_letter, topics};
use operators::correlate::Correlate;
use operators::crew::Crew;
use operators::dedupe::Dedupe;
use operators::gate::{Gate, Place};
use operators::normalize::Normalize;
use operators::templates::Templates;
use sha2::{Digest as _, Sha256};
use stream::driver::{
    CarryFrom, Mode, RestoreCheck, Runtime, Stage, StageError, Standing, carry, check_restore, run_stage,
};
use stream::partition::PARTITIONER;
use stream::progress::IngressPolicy;
use stream::snapshot::{SnapshotError, SnapshotStore};
use stream::task::{DeadLetters, Refused, Role, TaskSettings};
use stream::{NewRecord, Offset, Operator, TopicPartition, TopicSpec};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::generations::Layout;

/// The shape of this run: what snapshots are named by and what topics must exist.
#[derive(Clone)]
pub struct Topology {
    pub layout: Layout,
    ingress: IngressPolicy,
    policy: Policy,
    /// Signs and knows what crew, gate, workers and people write.
    pub signer: Signer,
    hash: String,
    /// A keyed topic may have another number of partitions than the layout says: it is about to be read for the last time.
    draining: bool,
}

type StageFuture = std::pin::Pin<Box<dyn Future<Output = Result<(), StageError>> + Send>>;
type CarryFuture<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Vec<u64>, StageError>> + Send + 'a>>;
type CheckFuture<'a> = std::pin::Pin<Box<dyn Future<Output = Result<RestoreCheck, SnapshotError>> + Send + 'a>>;

/// A stage that can be run: the registration list below is the only place that names them.
pub struct StageEntry {
    pub name: &'static str,
    pub input: &'static str,
    /// Topics that it writes data to, besides dead letters and accounting.
    pub outputs: &'static [&'static str],
    pub make: fn(&Topology, &Config) -> Box<dyn AnyStage>,
}

/// A stage, whatever its operator.
pub trait AnyStage: Send {
    /// Runs it until its drive says stop.
    fn run(self: Box<Self>, drive: Drive) -> StageFuture;

    /// What a start would make of a partition's snapshots; `deep` reads them whole.
    fn check<'a>(
        &'a self,
        store: &'a Arc<dyn SnapshotStore>,
        partition: u32,
        at: Standing,
        deep: bool,
    ) -> CheckFuture<'a>;

    /// Divides the state of another partitioning among the partitions of this stage: see [`carry`].
    fn carry<'a>(&'a self, from: CarryFrom<'a>, store: &'a dyn SnapshotStore, offsets: &'a [Offset])
    -> CarryFuture<'a>;
}

impl<O: Operator> AnyStage for Stage<O> {
    fn run(self: Box<Self>, drive: Drive) -> StageFuture {
        Box::pin(run_stage(*self, drive.runtime, drive.mode, drive.stop))
    }

    fn check<'a>(
        &'a self,
        store: &'a Arc<dyn SnapshotStore>,
        partition: u32,
        at: Standing,
        deep: bool,
    ) -> CheckFuture<'a> {
        let partition = TopicPartition::new(self.input.clone(), partition);
        Box::pin(async move { check_restore(self, store, &partition, at, deep).await })
    }

    fn carry<'a>(
        &'a self,
        from: CarryFrom<'a>,
        store: &'a dyn SnapshotStore,
        offsets: &'a [Offset],
    ) -> CarryFuture<'a> {
        Box::pin(carry(self, from, store, offsets))
    }
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
        outputs: &[topics::SIGNALS],
        make: |topology, config| {
            let settings = config.normalize.clone();
            let make = move || Normalize::new(settings.clone());
            topology.stage(topics::EVENTS_RAW, topics::SIGNALS, Entry::Ingress, make)
        },
    },
    StageEntry {
        name: "templates",
        input: topics::LOGS,
        outputs: &[topics::SIGNALS, topics::LINES],
        make: |topology, config| {
            let (settings, environment) = (config.templates.clone(), config.normalize.environment.clone());
            let make = move || Templates::new(&settings, &environment);
            topology.stage(topics::LOGS, topics::SIGNALS, Entry::Ingress, make)
        },
    },
    StageEntry {
        name: "dedupe",
        input: topics::SIGNALS,
        outputs: &[
            topics::TRANSITIONS,
            topics::DEPLOYMENTS,
            topics::COMPLIANCE,
            topics::LATE,
        ],
        make: |topology, config| {
            let settings = config.dedupe.clone();
            let make = move || Dedupe::new(&settings);
            topology.stage(topics::SIGNALS, topics::TRANSITIONS, Entry::BehindBoth, make)
        },
    },
    StageEntry {
        name: "correlate",
        input: topics::TRANSITIONS,
        outputs: &[topics::INCIDENTS, topics::NOTIFICATIONS, topics::LATE],
        make: |topology, config| {
            let settings = config.correlate.clone();
            let make = move || Correlate::new(&settings);
            let entry = Entry::Downstream {
                upstream: topics::SIGNALS,
            };
            topology.stage(topics::TRANSITIONS, topics::INCIDENTS, entry, make)
        },
    },
    StageEntry {
        name: "crew",
        input: topics::INCIDENTS,
        outputs: &[
            topics::INCIDENTS,
            topics::TRANSITIONS,
            topics::REMEDIATIONS,
            topics::NOTIFICATIONS,
        ],
        make: |topology, config| {
            let (settings, signer) = (config.crew.clone(), topology.signer.clone());
            let make = move || Crew::new(&settings, signer.clone());
            let entry = Entry::Downstream {
                upstream: topics::TRANSITIONS,
            };
            topology.stage(topics::INCIDENTS, topics::REMEDIATIONS, entry, make)
        },
    },
    StageEntry {
        name: "gate",
        input: topics::REMEDIATIONS,
        outputs: &[
            topics::REMEDIATIONS,
            topics::INCIDENTS,
            topics::LEDGER,
            topics::NOTIFICATIONS,
        ],
        make: |topology, config| {
            let (settings, policy, signer) = (config.gate.clone(), topology.policy.clone(), topology.signer.clone());
            let topic = topology.layout.name(topics::REMEDIATIONS);
            let partitions = topology.layout.partitions(topics::REMEDIATIONS);
            let make = move |partition| {
                let chain = format!("{topic}-{partition}");
                Gate::new(&settings, policy.clone(), signer.clone(), Place { chain, partitions })
            };
            let entry = Entry::Downstream {
                upstream: topics::INCIDENTS,
            };
            topology.stage_by_partition(topics::REMEDIATIONS, topics::NOTIFICATIONS, entry, make)
        },
    },
];

impl StageEntry {
    pub fn run(&self, topology: &Topology, config: &Config, drive: Drive) -> StageFuture {
        (self.make)(topology, config).run(drive)
    }
}

/// What the hash of the topology is made of besides the partitioner and the partition count. Snapshots are named by that hash,
/// so this list is frozen: a topic or stage that is added later does not change what the state of these depends on. Edit it
/// only when that changes, and know that every snapshot is foreign from then on.
const HASHED_TOPICS: &[&str] = &[
    "events.raw",
    "logs",
    "signals",
    "transitions",
    "incidents",
    "deployments",
    "compliance",
    "remediations",
    "notifications",
    "ledger",
    "late",
    "dead-letter",
    "accounting",
];
const HASHED_STAGES: &[&str] = &["normalize", "dedupe", "correlate"];

#[derive(Clone, Copy)]
enum Entry {
    Ingress,
    /// `upstream`: what the stage before reads.
    Downstream {
        upstream: &'static str,
    },
    /// Behind all that write to `signals`.
    BehindBoth,
}

/// The stages that write to `signals`, and what they read: dedupe waits for the Progress of each of their tasks.
const TO_SIGNALS: [(&str, &str); 2] = [("normalize", topics::EVENTS_RAW), ("templates", topics::LOGS)];

impl Topology {
    /// That of a log in which nothing has happened yet, without a key.
    pub fn new(config: &Config) -> Self {
        Topology::of(config, &Layout::founding(config.partitions()), Signer::without_key())
    }

    pub fn of(config: &Config, layout: &Layout, signer: Signer) -> Self {
        let partitions = layout.keyed();
        let mut hash = Sha256::new();
        hash.update(PARTITIONER);
        for topic in HASHED_TOPICS {
            hash.update(format!("{topic}:{partitions};"));
        }
        for stage in HASHED_STAGES {
            hash.update(format!("{stage};"));
        }
        let hash: String = hash
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Topology {
            layout: layout.clone(),
            ingress: IngressPolicy {
                founding_partitions: layout.partitions(topics::EVENTS_RAW),
                ..config.ingress_policy()
            },
            policy: config.policy.rules(),
            signer,
            hash,
            draining: false,
        }
    }

    /// For the drain before a repartition, which is also how a keyed topic gets right whose partitions were changed.
    pub fn draining(self) -> Self {
        Topology { draining: true, ..self }
    }

    /// Every topic that must exist.
    pub fn topics(&self, config: &Config) -> Vec<TopicSpec> {
        topics::ALL
            .iter()
            .map(|name| TopicSpec {
                name: (*name).into(),
                partitions: self.layout.partitions(name),
                retention: config.retention(name),
            })
            .collect()
    }

    fn stage<O: Operator>(
        &self,
        input: &str,
        output: &str,
        entry: Entry,
        make: impl Fn() -> O + Send + Sync + 'static,
    ) -> Box<dyn AnyStage> {
        self.stage_by_partition(input, output, entry, move |_| make())
    }

    fn stage_by_partition<O: Operator>(
        &self,
        input: &str,
        output: &str,
        entry: Entry,
        make: impl Fn(u32) -> O + Send + Sync + 'static,
    ) -> Box<dyn AnyStage> {
        Box::new(Stage {
            input: input.into(),
            keyed: match entry {
                Entry::Downstream { .. } | Entry::BehindBoth if !self.draining => Some(self.layout.partitions(input)),
                _ => None,
            },
            settings: self.task_settings(output, entry),
            make: Box::new(make),
            call: None,
        })
    }

    /// Names snapshots.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    fn task_settings(&self, output: &str, entry: Entry) -> TaskSettings {
        TaskSettings {
            topology: self.hash.clone(),
            role: match entry {
                Entry::Ingress => Role::Ingress(self.ingress),
                // One task for each partition that the upstream stage reads.
                Entry::Downstream { upstream } => Role::Downstream {
                    upstream_partitions: self.layout.partitions(upstream),
                },
                Entry::BehindBoth => Role::Confluence {
                    stages: TO_SIGNALS.map(|(stage, _)| stage),
                    partitions: TO_SIGNALS.map(|(_, input)| self.layout.partitions(input)),
                },
            },
            output: (output.into(), self.layout.partitions(output)),
            sides: topics::ALL
                .iter()
                .map(|name| ((*name).into(), self.layout.partitions(name)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_first_release() {
        // A changed value makes every snapshot out there foreign.
        assert_eq!(Topology::new(&Config::default()).hash(), "7d325b44ca9377bc");
    }
}
