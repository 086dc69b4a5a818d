//! Which topics the log of an installation has now: the topology, as it is written down in the log itself.
//!
//! Topic `topology` (one partition, kept for ever, in no generation) holds one JSON entry per change. The first one founds the
//! topology with the configured number of partitions; after that the number is a fact of the log and no setting can change it.
//! `aegis repartition` writes the others. A generation is a set of topics: those of generation 0 have their plain names, a topic
//! that was rewritten for generation 2 is `NAME.g2` in the log. Everybody but this module and `repartition` speaks of plain
//! names, and reads and writes through a [`GenerationLog`].
//!
//! ```text
//! founded ─► begun ─► switched ─► begun ─► abandoned ─► begun ─► …
//!                                      (nothing starts between begun and what ends it)
//! ```

mod log;
mod sinks;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Context as _;
use model::topics;
use serde::{Deserialize, Serialize};
use stream::log::{Retention, Topic};
use stream::partition::PARTITIONER;
use stream::{Log, LogError, NewRecord, Offset, TopicPartition, TopicSpec};

pub use log::GenerationLog;
pub use sinks::GenerationSink;

use crate::cli::Exit;
use crate::scan::scan;

/// The topic that the entries stand on.
pub const TOPOLOGY: &str = "topology";

/// Topics that a repartition leaves where they are: raw bodies have no key, and signals, letters and tables name them by their
/// place; letters and accounts are read by place and not by key.
pub const KEPT: &[&str] = &[
    topics::EVENTS_RAW,
    topics::LATE,
    topics::DEAD_LETTER,
    topics::ACCOUNTING,
];

/// One record of the topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub schema: u32,
    #[serde(flatten)]
    pub what: What,
}

/// What happened to the topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    Founded(Layout),
    Begun(Begun),
    Abandoned { generation: u32 },
    Switched(Layout),
}

impl Entry {
    pub const SCHEMA: u32 = 1;
}

/// Every topic of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    pub generation: u32,
    /// The function that makes partitions of keys.
    pub partitioner: String,
    pub topics: BTreeMap<String, Place>,
    /// Where the books of this generation begin. `None`: at the beginning of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

/// One topic of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Of `events.raw`: those that it had when the generation began; it may get more.
    pub partitions: u32,
    /// The generation for which it was made.
    pub generation: u32,
}

/// The balance with which a generation opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// `topic/partition` to its first offset that belongs to this generation: what is before was copied, or belongs to the one
    /// before.
    pub offsets: BTreeMap<String, u64>,
    /// `stage/partition` (of its input) to the items held there.
    pub held: BTreeMap<String, u64>,
    /// Topics whose beginning was gone already when they were copied.
    pub incomplete: BTreeSet<String>,
}

/// A repartition that somebody is at, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    pub generation: u32,
    pub partitions: u32,
    /// `topic/partition` to start and end of what is to be copied.
    pub from: BTreeMap<String, (u64, u64)>,
}

impl Layout {
    /// That of a log in which nothing has happened.
    pub fn founding(partitions: u32) -> Self {
        let place = Place {
            partitions,
            generation: 0,
        };
        Layout {
            generation: 0,
            partitioner: PARTITIONER.to_owned(),
            topics: topics::ALL.iter().map(|name| ((*name).to_owned(), place)).collect(),
            opening: None,
        }
    }

    /// Partitions of `topic`. A topic that is younger than the entry has as many as the keyed ones.
    pub fn partitions(&self, topic: &str) -> u32 {
        self.topics.get(topic).map_or(self.keyed(), |place| place.partitions)
    }

    /// Partitions of the keyed topics: how many tasks a stage has.
    pub fn keyed(&self) -> u32 {
        self.topics.get(topics::SIGNALS).map_or(1, |place| place.partitions)
    }

    /// The name of `topic` in the log.
    pub fn name(&self, topic: &str) -> Topic {
        name_in(topic, self.topics.get(topic).map_or(0, |place| place.generation))
    }
}

/// The name of the `topic` that was made for `generation`.
pub fn name_in(topic: &str, generation: u32) -> Topic {
    match generation {
        0 => topic.into(),
        later => format!("{topic}.g{later}").into(),
    }
}

/// What the entries say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// `None`: nothing ran here yet, or a release before there were entries.
    pub current: Option<Layout>,
    /// A repartition that was neither finished nor given up.
    pub open: Option<Begun>,
    /// The highest generation that was ever begun.
    pub highest: u32,
}

impl History {
    /// Reads the entries of `log`, by its own names. One of a later release is an error: what it says may matter.
    pub async fn read(log: &Arc<dyn Log>) -> anyhow::Result<Self> {
        let at = TopicPartition::new(TOPOLOGY, 0);
        let bounds = match log.bounds(&at).await {
            Ok(bounds) => bounds,
            Err(LogError::UnknownTopic(_) | LogError::UnknownPartition(_)) => return Ok(History::default()),
            Err(error) => return Err(error.into()),
        };
        let mut history = History::default();
        let mut bad = None;
        scan(
            log,
            &at,
            bounds.start,
            bounds.end,
            |record| match serde_json::from_slice::<Entry>(&record.value) {
                Ok(entry) if entry.schema <= Entry::SCHEMA => {
                    history.take(entry.what);
                    ControlFlow::Continue(())
                }
                Ok(entry) => {
                    bad = Some((record.offset, format!("schema {} is of a later release", entry.schema)));
                    ControlFlow::Break(())
                }
                Err(error) => {
                    bad = Some((record.offset, error.to_string()));
                    ControlFlow::Break(())
                }
            },
        )
        .await?;
        match bad {
            None => Ok(history),
            Some((offset, problem)) => anyhow::bail!(
                "the entry at offset {} of topic {TOPOLOGY} cannot be read: {problem}; use the program that wrote it",
                offset.0
            ),
        }
    }

    fn take(&mut self, what: What) {
        match what {
            What::Founded(layout) => {
                // Two processes that start at once both find nothing; the first one counts.
                self.current.get_or_insert(layout);
            }
            What::Begun(begun) => {
                self.highest = self.highest.max(begun.generation);
                self.open = Some(begun);
            }
            What::Abandoned { .. } => self.open = None,
            What::Switched(layout) => {
                self.open = None;
                self.current = Some(layout);
            }
        }
    }

    /// The layout; for a log without entries that of its topics, or what `configured` asks for.
    pub async fn layout(&self, log: &Arc<dyn Log>, configured: u32) -> Result<Layout, LogError> {
        if let Some(layout) = &self.current {
            return Ok(layout.clone());
        }
        match log.partitions(topics::SIGNALS).await {
            Ok(found) => Ok(Layout::founding(found)),
            Err(LogError::UnknownTopic(_)) => Ok(Layout::founding(configured)),
            Err(error) => Err(error),
        }
    }

    /// Nothing may start while records are being moved.
    pub fn refuse_open(&self) -> anyhow::Result<()> {
        match &self.open {
            None => Ok(()),
            Some(begun) => Err(Exit::Unavailable.because(format!(
                "a repartition to {0} partitions was begun and has not ended: `aegis repartition --partitions {0}` goes on with it, \
                 `aegis repartition --abandon` gives it up",
                begun.partitions
            ))),
        }
    }
}

/// Writes an entry, durably. `log` by its own names.
pub async fn write(log: &Arc<dyn Log>, what: What) -> anyhow::Result<()> {
    let spec = TopicSpec {
        name: TOPOLOGY.into(),
        partitions: 1,
        retention: Retention::default(),
    };
    log.ensure_topics(&[spec]).await?;
    let entry = Entry {
        schema: Entry::SCHEMA,
        what,
    };
    let record = NewRecord {
        value: serde_json::to_vec(&entry)?.into(),
        ..NewRecord::default()
    };
    let at = TopicPartition::new(TOPOLOGY, 0);
    log.append(&at, vec![record])
        .await
        .with_context(|| format!("writing to topic {TOPOLOGY}"))?;
    Ok(())
}

/// Compares the broker's counts with those of the topology. Writes nothing. `log` in the generation's names.
pub async fn require_counts(log: &dyn Log, layout: &Layout) -> Result<(), LogError> {
    for topic in topics::ALL {
        let wanted = layout.partitions(topic);
        let found = match log.partitions(topic).await {
            Err(LogError::UnknownTopic(_)) => continue,
            other => other?,
        };
        let grown = *topic == topics::EVENTS_RAW && found > wanted;
        if found != wanted && !grown {
            return Err(LogError::PartitionCount {
                topic: (*topic).into(),
                found,
                wanted,
            });
        }
    }
    Ok(())
}

/// The first offset of `partition` that belongs to the generation.
pub fn origin(layout: Option<&Layout>, partition: &TopicPartition) -> Offset {
    let opening = layout.and_then(|layout| layout.opening.as_ref());
    let offset = opening.and_then(|opening| opening.offsets.get(&partition.to_string()));
    Offset(offset.copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(generation: u32) -> What {
        What::Begun(Begun {
            generation,
            partitions: 4,
            from: BTreeMap::new(),
        })
    }

    #[test]
    fn what_the_entries_say() {
        let mut history = History::default();
        history.take(What::Founded(Layout::founding(2)));
        history.take(What::Founded(Layout::founding(9)));
        assert_eq!(history.current.as_ref().map(Layout::keyed), Some(2));
        assert!(history.refuse_open().is_ok());
        history.take(begun(1));
        let refusal = history.refuse_open().unwrap_err().to_string();
        assert!(refusal.contains("aegis repartition --partitions 4"), "{refusal}");
        history.take(What::Abandoned { generation: 1 });
        assert!(history.refuse_open().is_ok());
        history.take(begun(2));
        let mut next = Layout::founding(4);
        next.generation = 2;
        next.topics.insert(
            topics::SIGNALS.to_owned(),
            Place {
                partitions: 4,
                generation: 2,
            },
        );
        history.take(What::Switched(next));
        assert!(history.refuse_open().is_ok());
        let current = history.current.unwrap();
        assert_eq!((history.highest, current.keyed()), (2, 4));
        assert_eq!(&*current.name(topics::SIGNALS), "signals.g2");
        assert_eq!(&*current.name(topics::EVENTS_RAW), "events.raw");
    }

    #[test]
    fn the_first_entry_of_the_first_release_that_wrote_one() {
        let text = r#"{"schema":1,"kind":"founded","generation":0,"partitioner":"fnv1a-splitmix-1","topics":{"signals":{"partitions":2,"generation":0}}}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        let What::Founded(layout) = entry.what else {
            panic!("{entry:?}")
        };
        assert_eq!((layout.keyed(), layout.partitions("of.later")), (2, 2));
    }
}
