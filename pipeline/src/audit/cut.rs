//! One moment of the log: the bounds of every partition, and how far each stage had read.
//!
//! A commit writes outputs, accounting and position in one piece. So when the accounting topic has the same end before and
//! after everything else was looked at, no commit that counted anything fell between, and all of it is of one moment.
//!
//! Unless a transaction was open somewhere ([`Cut::settled`]): it hides what others commit behind it in its partitions, and
//! the end of a commit reaches its partitions one after the other. One that a crash left open stays so until the broker ends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::topics;
use stream::log::Bounds;
use stream::{Log, LogError, Offset, TopicPartition};

use crate::cli::Exit;
use crate::generations::{self, History, Layout};
use crate::topology::STAGES;

/// Tries to find a moment between two commits. Thirty commits a second leave most of them free.
const TRIES: u32 = 200;

/// What the audit looks at.
const TOPICS: &[&str] = &[
    topics::EVENTS_RAW,
    topics::LOGS,
    topics::LINES,
    topics::SIGNALS,
    topics::TRANSITIONS,
    topics::INCIDENTS,
    topics::NOTIFICATIONS,
    topics::DEAD_LETTER,
    topics::LATE,
];

/// See the module's header.
#[derive(Debug)]
pub struct Cut {
    bounds: BTreeMap<TopicPartition, Bounds>,
    /// Stage and input partition to the next offset it would read.
    positions: BTreeMap<(String, u32), Offset>,
    /// The generation of topics, and with what balance it opened.
    layout: Option<Layout>,
    settled: bool,
}

impl Cut {
    pub async fn take(log: &Arc<dyn Log>) -> anyhow::Result<Self> {
        let layout = History::read(log).await?.current;
        for _ in 0..TRIES {
            let before = bounds_of(log, topics::ACCOUNTING).await?;
            let mut bounds = BTreeMap::new();
            for topic in TOPICS {
                bounds.extend(bounds_of(log, topic).await?);
            }
            let mut positions = BTreeMap::new();
            for stage in STAGES {
                let group = format!("aegis.{}", stage.name);
                for partition in 0..log.partitions(stage.input).await? {
                    let input = TopicPartition::new(stage.input, partition);
                    if let Some(position) = log.committed(&group, &input).await? {
                        positions.insert((stage.name.to_owned(), partition), position);
                    }
                }
            }
            let after = bounds_of(log, topics::ACCOUNTING).await?;
            let ends = |all: &BTreeMap<TopicPartition, Bounds>| all.values().map(|b| b.end).collect::<Vec<_>>();
            if ends(&before) == ends(&after) {
                bounds.extend(after);
                let settled = nothing_open(log, &bounds).await?;
                return Ok(Cut {
                    bounds,
                    positions,
                    layout,
                    settled,
                });
            }
        }
        Err(Exit::Unavailable.because(
            "the pipeline commits too often to catch a moment between two commits: audit when it is quieter, or stopped",
        ))
    }

    /// Whether everything that was committed then could be seen: nothing that differs here is on its way.
    pub fn settled(&self) -> bool {
        self.settled
    }

    /// Whether retention has dropped nothing since.
    pub async fn stands(&self, log: &Arc<dyn Log>) -> anyhow::Result<bool> {
        for (partition, bounds) in &self.bounds {
            if log.bounds(partition).await?.start > bounds.start {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What of `partition` belongs to this generation of topics, as far as it is still there.
    pub fn bounds(&self, partition: &TopicPartition) -> Bounds {
        let Bounds { start, end } = self.kept(partition);
        let start = start.max(self.origin(partition));
        Bounds {
            start,
            end: end.max(start),
        }
    }

    /// All that is there, also what was copied out of the generation before.
    pub fn kept(&self, partition: &TopicPartition) -> Bounds {
        self.bounds.get(partition).copied().unwrap_or(Bounds {
            start: Offset(0),
            end: Offset(0),
        })
    }

    /// Where this generation begins in `partition`: what is before is in the books of the one before.
    pub fn origin(&self, partition: &TopicPartition) -> Offset {
        generations::origin(self.layout.as_ref(), partition)
    }

    /// Items of `stage` that were held when this generation began.
    pub fn held(&self, stage: &str, partition: u32) -> u64 {
        let opening = self.layout.as_ref().and_then(|layout| layout.opening.as_ref());
        let held = opening.and_then(|opening| opening.held.get(&format!("{stage}/{partition}")));
        held.copied().unwrap_or(0)
    }

    /// Whether all that was ever on `topic` is still there, also before this generation.
    pub fn complete(&self, topic: &str) -> bool {
        let opening = self.layout.as_ref().and_then(|layout| layout.opening.as_ref());
        let cut = opening.is_some_and(|opening| opening.incomplete.contains(topic));
        !cut && self
            .partitions(topic)
            .iter()
            .all(|one| self.kept(one).start == Offset(0))
    }

    /// The generation that is looked at.
    pub fn generation(&self) -> u32 {
        self.layout.as_ref().map_or(0, |layout| layout.generation)
    }

    /// The partitions of `topic`, in order.
    pub fn partitions(&self, topic: &str) -> Vec<TopicPartition> {
        let of_topic = |partition: &&TopicPartition| *partition.topic == *topic;
        self.bounds.keys().filter(of_topic).cloned().collect()
    }

    /// Whether retention has dropped nothing of this generation's records of `topic` yet.
    pub fn whole(&self, topic: &str) -> bool {
        self.partitions(topic)
            .iter()
            .all(|partition| self.kept(partition).start <= self.origin(partition))
    }

    /// How far `stage` had read.
    pub fn position(&self, stage: &str, partition: u32) -> Offset {
        self.positions
            .get(&(stage.to_owned(), partition))
            .copied()
            .unwrap_or_default()
    }
}

/// Whether all that is written within `bounds` and behind it has its end.
async fn nothing_open(log: &Arc<dyn Log>, bounds: &BTreeMap<TopicPartition, Bounds>) -> Result<bool, LogError> {
    for (partition, bounds) in bounds {
        if log.written(partition).await? > bounds.end {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn bounds_of(log: &Arc<dyn Log>, topic: &str) -> Result<BTreeMap<TopicPartition, Bounds>, LogError> {
    let mut all = BTreeMap::new();
    for partition in 0..log.partitions(topic).await? {
        let partition = TopicPartition::new(topic, partition);
        let bounds = log.bounds(&partition).await?;
        all.insert(partition, bounds);
    }
    Ok(all)
}
