//! A sink of a generation: to its store, a partition of generation `g` has the number `g · 65536 + partition`.
//!
//! Stores tell rows and positions apart by topic, partition and offset, and the archive names its files by them. All of these
//! begin anew in a new generation, so without a word of the generation a row of the new one would pass for one of the old, and a
//! position in the old topic for one in the new.

use std::collections::BTreeMap;

use async_trait::async_trait;
use sinks::worker::GENERATION_STRIDE;
use stream::log::Topic;
use stream::{LogId, Offset, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};

use super::Layout;

/// See the module's header.
pub struct GenerationSink {
    inner: Box<dyn Sink>,
    generations: BTreeMap<String, u32>,
}

impl GenerationSink {
    pub fn over(inner: Box<dyn Sink>, layout: &Layout) -> Box<dyn Sink> {
        let renamed = layout.topics.iter().filter(|(_, place)| place.generation > 0);
        let generations: BTreeMap<String, u32> = renamed
            .map(|(topic, place)| (topic.clone(), place.generation))
            .collect();
        if generations.is_empty() {
            return inner;
        }
        Box::new(GenerationSink { inner, generations })
    }

    fn inside(&self, partition: &TopicPartition) -> TopicPartition {
        let generation = self.generations.get(&*partition.topic).copied().unwrap_or(0);
        TopicPartition::new(
            partition.topic.clone(),
            generation * GENERATION_STRIDE + partition.partition,
        )
    }
}

fn outside(partition: TopicPartition) -> TopicPartition {
    TopicPartition::new(partition.topic, partition.partition % GENERATION_STRIDE)
}

#[async_trait]
impl Sink for GenerationSink {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn topics(&self) -> Vec<Topic> {
        self.inner.topics()
    }

    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        let partition = self.inside(partition);
        self.inner.position(log, &partition).await
    }

    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let inside: Vec<SinkBatch> = batches
            .iter()
            .map(|batch| SinkBatch {
                partition: self.inside(&batch.partition),
                ..batch.clone()
            })
            .collect();
        match self.inner.write(log, &inside).await {
            Ok(rejects) => Ok(rejects
                .into_iter()
                .map(|reject| SinkReject {
                    partition: outside(reject.partition),
                    ..reject
                })
                .collect()),
            Err(SinkError::PositionMoved {
                sink,
                partition,
                expected,
                stored,
            }) => Err(SinkError::PositionMoved {
                sink,
                partition: outside(partition),
                expected,
                stored,
            }),
            Err(error) => Err(error),
        }
    }

    async fn close(&mut self) -> Result<(), SinkError> {
        self.inner.close().await
    }
}
