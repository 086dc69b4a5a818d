//! Recorded input: signals and Progress as a normalize of some partitions left them, told in random portions.

use std::time::Duration;

use model::{Signal, topics};
use stream::simulation::{Dice, Step};
use stream::{Instant, NewRecord, TopicPartition};

use crate::rows::{batches, progress};

/// Event time of a partition that has nothing more to say. Far, but calculable with.
pub const FAR: Instant = Instant(1_000_000 * 1_000_000);

/// Writes a script.
pub struct Scribe {
    pub partitions: u32,
    pub steps: Vec<Step>,
    pub at: Duration,
}

impl Scribe {
    pub fn new(partitions: u32) -> Self {
        Scribe {
            partitions,
            steps: Vec::new(),
            at: Duration::ZERO,
        }
    }

    fn push(&mut self, records: Vec<(TopicPartition, Vec<NewRecord>)>) {
        for (to, records) in records {
            self.steps.push(Step {
                at: self.at,
                to,
                records,
            });
        }
    }

    /// Bytes that are no batch.
    pub fn rubbish(&mut self, dice: &mut Dice) {
        let to = TopicPartition::new(topics::SIGNALS, dice.below(self.partitions as usize) as u32);
        let record = NewRecord {
            value: format!("rubbish {}", dice.below(1_000)).into(),
            ..NewRecord::default()
        };
        self.push(vec![(to, vec![record])]);
    }

    pub fn signals(&mut self, signals: &[Signal]) {
        let records = batches(topics::SIGNALS, self.partitions, signals);
        self.push(records);
    }

    pub fn progress(&mut self, from: u32, watermark: Instant) {
        let records = progress(topics::SIGNALS, self.partitions, from, watermark);
        self.push(records);
    }

    /// Tells `signals` in their order, each through one of the ingress partitions, under the tightest watermark that is
    /// true. `between` may add to it, knowing the watermark that everybody has heard.
    pub fn tell(
        &mut self,
        signals: &[Signal],
        dice: &mut Dice,
        mut between: impl FnMut(&mut Self, &mut Dice, Instant),
    ) {
        let through: Vec<u32> = signals
            .iter()
            .map(|_| dice.below(self.partitions as usize) as u32)
            .collect();
        let waiting = |from: usize, partition: u32| {
            let rest = signals.iter().zip(&through).skip(from);
            rest.filter(|(_, through)| **through == partition)
                .map(|(signal, _)| Instant(signal.effective_at))
                .min()
                .unwrap_or(FAR)
        };
        let mut told = vec![Instant::MIN; self.partitions as usize];
        let mut next = 0;
        while next < signals.len() {
            let end = (next + 1 + dice.below(6)).min(signals.len());
            self.signals(&signals[next..end]);
            next = end;
            for partition in 0..self.partitions {
                if dice.chance(40) {
                    let watermark = waiting(next, partition);
                    told[partition as usize] = watermark;
                    self.progress(partition, watermark);
                }
            }
            let heard = told.iter().copied().min().unwrap_or(Instant::MIN);
            between(self, dice, heard);
            self.at += Duration::from_millis(dice.below(1_500) as u64);
        }
        for partition in 0..self.partitions {
            self.progress(partition, FAR);
        }
    }
}
