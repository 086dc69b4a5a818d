//! What is simulated: operators, sinks, and a timed script of input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::driver::{Mode, Runtime, Stage, StageError, run_stage};
use crate::log::{NewRecord, Record, Topic, TopicPartition};
use crate::operator::Operator;
use crate::task::{DeadLetters, Role, Task, TaskSettings};
use crate::time::Instant;

/// Records of every partition.
pub type Contents = BTreeMap<TopicPartition, Vec<Record>>;

/// A row of a record, for comparison.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// All that must be equal.
    pub text: String,
    /// The time that the watermark must not pass; `None` for rows that promise none.
    pub at: Option<Instant>,
}

/// Input at a time.
#[derive(Clone, Debug)]
pub struct Step {
    /// Since the start.
    pub at: Duration,
    pub to: TopicPartition,
    pub records: Vec<NewRecord>,
}

/// Operators, sinks and input.
#[derive(Clone)]
pub struct Plan {
    pub name: &'static str,
    /// Every topic with its partition count, dead letters and accounting included.
    pub topics: Vec<(Topic, u32)>,
    /// Upstream first.
    pub stages: Vec<PlanStage>,
    /// Name and topics.
    pub sinks: Vec<(&'static str, Vec<Topic>)>,
    pub script: Vec<Step>,
    /// Event time that every stage must have told before the result is final; [`Instant::MIN`] where the script itself tells
    /// all there is. A span of time would not do: what a fault delays may come back long after the faults are over.
    pub final_at: Instant,
    /// The wall clock when the script starts.
    pub starts_at: Instant,
    /// No sender says anything later than its lateness allows, so no row may stand behind a watermark anywhere. Without it
    /// only stages behind the ingress stage are held to that.
    pub punctual: bool,
    /// The rows of a data record; `None` if it cannot be read: such a record is one item.
    pub rows: fn(&str, &Record) -> Option<Vec<Row>>,
    /// What must not depend on order, cuts or faults, of all that the plan wrote.
    pub result: fn(&Contents) -> String,
    /// The result, if the plan knows it by other means than running.
    pub expected: Option<String>,
}

impl Plan {
    /// Whether the kernel's part of this stage's state holds wall-clock times: when its senders were heard.
    pub fn reads_the_clock(&self, stage: &str) -> bool {
        self.stages
            .iter()
            .any(|known| known.name == stage && known.upstream.is_none())
    }
}

/// State cells by name, each saved whole.
pub type Cells = Vec<(String, Vec<u8>)>;

type ReadState = dyn Fn(u32, &[Bytes]) -> Option<Cells> + Send + Sync;

type RunStage =
    dyn Fn(Runtime, Arc<dyn Call>, Mode, CancellationToken) -> BoxFuture<'static, Result<(), StageError>> + Send + Sync;

/// A stage of a plan.
#[derive(Clone)]
pub struct PlanStage {
    pub name: &'static str,
    pub input: Topic,
    pub output: Topic,
    /// How many partitions its watermark comes from; `None` for the ingress stage.
    pub upstream: Option<u32>,
    pub run: Arc<RunStage>,
    /// The state that the objects of a snapshot of an input partition hold; `None` when they cannot be read.
    pub state: Arc<ReadState>,
}

/// Names that every plan uses.
pub const DEAD_LETTERS: &str = "dead-letter";
pub const ACCOUNTING: &str = "accounting";
/// What snapshots are named by.
pub const TOPOLOGY: &str = "simulation";

impl PlanStage {
    pub fn new<O: Operator>(
        input: &str,
        output: &str,
        role: Role,
        topics: &[(Topic, u32)],
        make: impl Fn() -> O + Clone + Send + Sync + 'static,
    ) -> Self {
        let partitions = |name: &str| {
            let found = topics.iter().find(|(topic, _)| &**topic == name);
            found.map_or(1, |(_, count)| *count)
        };
        let settings = TaskSettings {
            topology: TOPOLOGY.to_owned(),
            role,
            output: (output.into(), partitions(output)),
            sides: topics.to_vec(),
            accounting: ACCOUNTING.into(),
            dead_letters: dead_letters(),
            progress_step: Duration::from_millis(500),
        };
        let topic: Topic = input.into();
        let (reading, read_settings, read_topic) = (make.clone(), settings.clone(), topic.clone());
        PlanStage {
            state: Arc::new(move |partition, objects| {
                let input = TopicPartition::new(read_topic.clone(), partition);
                Task::new(reading(), input, read_settings.clone())
                    .cells_of(objects)
                    .ok()
            }),
            name: make().name(),
            input: topic.clone(),
            output: output.into(),
            upstream: match role {
                Role::Ingress(_) => None,
                Role::Downstream { upstream_partitions } => Some(upstream_partitions),
                Role::Confluence { partitions, .. } => Some(partitions.iter().sum()),
            },
            run: Arc::new(move |runtime, outside, mode, stop| {
                let make = make.clone();
                let stage = Stage {
                    input: topic.clone(),
                    settings: settings.clone(),
                    make: Box::new(move |_| make()),
                    call: Some(outside),
                    keyed: None,
                };
                Box::pin(run_stage(stage, runtime, mode, stop))
            }),
        }
    }

    /// Its consumer group.
    pub fn group(&self) -> String {
        format!("aegis.{}", self.name)
    }
}

/// The refused record itself, with the reason in a header.
pub fn dead_letters() -> DeadLetters {
    DeadLetters {
        topic: DEAD_LETTERS.into(),
        encode: Arc::new(|refused| NewRecord {
            value: refused.record.value.clone(),
            headers: vec![("reason".to_owned(), refused.reject.reason.into())],
            ..NewRecord::default()
        }),
    }
}
