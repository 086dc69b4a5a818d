//! The producer of a case: lines into `events.raw`, spread over its partitions.
//!
//! One append per partition is in flight at a time; lines that come meanwhile make up the next one. So the order of a
//! partition is kept on every log, whatever it promises about concurrent appends, and the slower an append is, the
//! more it carries. A partition that falls behind holds the producer back.
//!
//! An append that fails ends the feed: its error is that of the next [`Feeder::push`] or of [`Feeder::finish`].

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use model::topics;
use stream::{Clock, Log, NewRecord, TopicPartition};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// Lines handed on together, as a producer with a small linger does.
const PIECE: usize = 512;
/// Pieces that may wait for their partition. Fewer: a partition starves while the other one holds the producer back.
/// More: the partitions drift apart in event time, and the state of the operators grows by it.
const WAITING: usize = 16;

pub struct Feeder {
    lanes: Vec<Lane>,
    next: usize,
}

struct Lane {
    piece: Vec<NewRecord>,
    /// `None` once the appending task ended and was asked why.
    appending: Option<Appending>,
}

/// Where pieces go, and the task that appends them.
type Appending = (Sender<Vec<NewRecord>>, JoinHandle<anyhow::Result<()>>);

impl Feeder {
    pub fn new(log: &Arc<dyn Log>, clock: &Arc<dyn Clock>, partitions: u32) -> Self {
        let lane = |partition| {
            let (send, receive) = channel(WAITING);
            let to = TopicPartition::new(topics::EVENTS_RAW, partition);
            let running = tokio::spawn(append_all(log.clone(), clock.clone(), to, receive));
            Lane {
                piece: Vec::with_capacity(PIECE),
                appending: Some((send, running)),
            }
        };
        Feeder {
            lanes: (0..partitions).map(lane).collect(),
            next: 0,
        }
    }

    pub async fn push(&mut self, line: Bytes) -> anyhow::Result<()> {
        let lane = self.next / PIECE % self.lanes.len();
        self.next += 1;
        let lane = &mut self.lanes[lane];
        lane.piece.push(NewRecord {
            value: line,
            ..NewRecord::default()
        });
        if lane.piece.len() >= PIECE {
            lane.send().await?;
        }
        Ok(())
    }

    /// Hands on what waits for its piece to fill.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        for lane in self.lanes.iter_mut().filter(|lane| !lane.piece.is_empty()) {
            lane.send().await?;
        }
        // The next line begins a piece.
        self.next = self.next.next_multiple_of(PIECE);
        Ok(())
    }

    /// Returns when every line is appended.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        for lane in &mut self.lanes {
            lane.send().await?;
        }
        for lane in &mut self.lanes {
            lane.end().await?;
        }
        Ok(())
    }
}

impl Lane {
    async fn send(&mut self) -> anyhow::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let (send, _) = self.appending.as_ref().context("the feed has failed already")?;
        if send.send(piece).await.is_err() {
            // Nobody receives any more: the task has an error to tell.
            self.end().await?;
            anyhow::bail!("the appending task ended early");
        }
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        let (send, running) = self.appending.take().context("the feed has failed already")?;
        drop(send);
        running.await?
    }
}

/// Until the sender is dropped. Whatever waits goes into one append.
async fn append_all(
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    to: TopicPartition,
    mut pieces: Receiver<Vec<NewRecord>>,
) -> anyhow::Result<()> {
    while let Some(mut records) = pieces.recv().await {
        while let Ok(mut more) = pieces.try_recv() {
            records.append(&mut more);
        }
        if records.is_empty() {
            continue;
        }
        let now = clock.now();
        records.iter_mut().for_each(|record| record.timestamp = now);
        log.append(&to, records).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stream::TopicSpec;
    use stream::log::memory::MemoryLog;
    use stream::log::{LogId, Offset};
    use stream::time::WallClock;

    use super::*;

    async fn feeder(created: u32, partitions: u32) -> (Arc<dyn Log>, Feeder) {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::with_id(LogId("feeder".into())));
        let spec = TopicSpec {
            name: topics::EVENTS_RAW.into(),
            partitions: created,
            retention: Default::default(),
        };
        log.ensure_topics(&[spec]).await.unwrap();
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let feeder = Feeder::new(&log, &clock, partitions);
        (log, feeder)
    }

    fn line(number: usize) -> Bytes {
        Bytes::from(number.to_string())
    }

    #[tokio::test]
    async fn every_line_arrives_in_order() {
        let (log, mut feeder) = feeder(2, 2).await;
        let lines = PIECE * 50 + 7;
        for number in 0..lines {
            feeder.push(line(number)).await.unwrap();
        }
        feeder.finish().await.unwrap();
        for partition in 0..2 {
            let partition = TopicPartition::new(topics::EVENTS_RAW, partition);
            let mut reader = log.reader(&partition, Offset(0)).await.unwrap();
            let (records, _) = reader.read(lines, Duration::ZERO).await.unwrap();
            let expected = (0..lines).filter(|number| number / PIECE % 2 == partition.partition as usize);
            let found: Vec<Bytes> = records.into_iter().map(|record| record.value).collect();
            assert_eq!(found, expected.map(line).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn an_append_that_fails_ends_the_feed() {
        let (_, mut feeder) = feeder(1, 2).await;
        let mut failed = None;
        // Partition 1 does not exist: at the latest when its queue is full, a push finds out.
        for number in 0..PIECE * 2 * (WAITING + 2) {
            if let Err(error) = feeder.push(line(number)).await {
                failed = Some(error.to_string());
                break;
            }
        }
        let failed = match failed {
            Some(failed) => failed,
            None => feeder.finish().await.unwrap_err().to_string(),
        };
        assert!(failed.contains("events.raw/1 does not exist"), "{failed}");
    }
}
