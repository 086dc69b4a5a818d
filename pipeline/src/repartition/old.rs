//! The generation that is left: its topics, as the log has them now, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use model::topics;
use stream::log::Bounds;
use stream::{Log, LogError, TopicPartition, TopicSpec};

use super::{Moved, Outcome, Summary, moves};
use crate::config::Config;
use crate::generations::{Begun, Layout, Place, name_in};
use crate::world::OpenLog;

/// The generation that is left.
pub struct Old {
    pub layout: Layout,
    /// Partitions of every topic now, by the log.
    pub counts: BTreeMap<String, u32>,
    /// Of the topics that move.
    pub bounds: BTreeMap<String, (u64, u64)>,
}

impl Old {
    pub async fn look(opened: &OpenLog) -> anyhow::Result<Self> {
        let mut counts = BTreeMap::new();
        for topic in topics::ALL {
            match opened.log.partitions(topic).await {
                // One that this release is the first to have.
                Err(LogError::UnknownTopic(_)) => {}
                found => {
                    counts.insert((*topic).to_owned(), found?);
                }
            }
        }
        Ok(Old {
            bounds: Old::bounds_of(&opened.log, &counts).await?,
            layout: opened.layout.clone(),
            counts,
        })
    }

    pub async fn bounds_of(
        log: &Arc<dyn Log>,
        counts: &BTreeMap<String, u32>,
    ) -> Result<BTreeMap<String, (u64, u64)>, LogError> {
        let mut all = BTreeMap::new();
        for (topic, partitions) in counts.iter().filter(|(topic, _)| moves(topic)) {
            for number in 0..*partitions {
                let partition = TopicPartition::new(topic.as_str(), number);
                let Bounds { start, end } = log.bounds(&partition).await?;
                all.insert(partition.to_string(), (start.0, end.0));
            }
        }
        Ok(all)
    }

    /// Whether every keyed topic has that many partitions, and the topology says so.
    pub fn right(&self, partitions: u32) -> bool {
        let mut counts = self.counts.iter().filter(|(topic, _)| *topic != topics::EVENTS_RAW);
        self.layout.keyed() == partitions && counts.all(|(topic, found)| *found == self.layout.partitions(topic))
    }

    pub fn summary(&self, partitions: u32) -> Summary {
        let moved = self.counts.iter().filter(|(topic, _)| moves(topic));
        Summary {
            outcome: Outcome::Planned,
            generation: self.layout.generation,
            partitions_before: self.layout.keyed(),
            partitions,
            resumed: false,
            topics: moved
                .map(|(topic, before)| Moved {
                    topic: topic.clone(),
                    partitions_before: *before,
                    partitions,
                    records: (0..*before)
                        .filter_map(|number| self.bounds.get(&format!("{topic}/{number}")))
                        .map(|(start, end)| end - start)
                        .sum(),
                })
                .collect(),
            held: 0,
        }
    }

    /// The generation that follows, without its opening.
    pub fn next(&self, begun: &Begun) -> Layout {
        let place = |topic: &&str| match moves(topic) {
            true => Place {
                partitions: begun.partitions,
                generation: begun.generation,
            },
            false => Place {
                partitions: self
                    .counts
                    .get(*topic)
                    .copied()
                    .unwrap_or_else(|| self.layout.partitions(topic)),
                generation: self.layout.topics.get(*topic).map_or(0, |place| place.generation),
            },
        };
        Layout {
            generation: begun.generation,
            partitioner: self.layout.partitioner.clone(),
            topics: topics::ALL
                .iter()
                .map(|topic| ((*topic).to_owned(), place(topic)))
                .collect(),
            opening: None,
        }
    }
}

/// The topics of all generations before `current`, also of those that were given up, are kept no longer than signals are, whatever
/// was asked for their successors.
pub async fn retire(config: &Config, raw: &Arc<dyn Log>, current: &Layout) -> anyhow::Result<()> {
    let retention = config.retention(topics::SIGNALS);
    let mut specs = Vec::new();
    for (topic, place) in current.topics.iter().filter(|(topic, _)| moves(topic)) {
        for generation in 0..place.generation {
            let name = name_in(topic, generation);
            match raw.partitions(&name).await {
                Ok(partitions) => specs.push(TopicSpec {
                    name,
                    partitions,
                    retention,
                }),
                Err(LogError::UnknownTopic(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    raw.ensure_topics(&specs)
        .await
        .context("the topics were switched; retiring the old ones failed: run the command again")
}
