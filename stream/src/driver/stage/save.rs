//! Snapshots of the tasks of a stage: see [`crate::driver::saving`].

use tokio_util::sync::CancellationToken;

use super::{Driver, StageError};
use crate::driver::saving::{BESIDE, Stored, Taken, store_rest, take};
use crate::failpoint;
use crate::log::TopicPartition;
use crate::operator::Operator;
use crate::snapshot::SnapshotError;
use crate::task::Event;

impl<O: Operator> Driver<O> {
    /// Saves the state of the tasks that are `wanted`, and waits until it is stored, with what was on its way before.
    pub(super) async fn save(
        &mut self,
        wanted: impl Fn(&TopicPartition) -> bool,
        stop: &CancellationToken,
    ) -> Result<(), StageError> {
        self.all_stored().await?;
        self.begin_save(wanted, stop).await?;
        self.all_stored().await
    }

    async fn all_stored(&mut self) -> Result<(), StageError> {
        while self.saving.busy() {
            let stored = self.saving.done().await?;
            self.stored(stored)?;
        }
        Ok(())
    }

    /// Begins to save the state of the tasks that are `wanted` and have nothing pending. What is too much to lie in memory is
    /// stored before the stage goes on. Nothing may be on its way.
    pub(super) async fn begin_save(
        &mut self,
        wanted: impl Fn(&TopicPartition) -> bool,
        stop: &CancellationToken,
    ) -> Result<(), StageError> {
        let (store, bound) = (self.runtime.snapshots.clone(), self.runtime.snapshots.chain_bound());
        let (mut round, mut room, mut large) = (Vec::new(), BESIDE, Vec::new());
        for (partition, task) in self.tasks.iter_mut().filter(|(partition, _)| wanted(partition)) {
            match take(task, partition, bound, &mut room)? {
                Taken::Nothing => {}
                Taken::Whole(handed_out) => round.push(handed_out),
                Taken::Begun(pieces) => large.push((partition.clone(), pieces)),
            }
        }
        self.saving.begin(self.name, round, &self.runtime, stop);
        if large.is_empty() {
            return Ok(());
        }
        let log = &self.runtime.log;
        self.runtime.patiently(self.name, stop, || log.sync()).await?;
        failpoint::hit("snapshot.before");
        for (partition, pieces) in large {
            let Some(task) = self.tasks.get_mut(&partition) else {
                continue;
            };
            match store_rest(task, pieces, store.as_ref()).await {
                Ok(_) => {}
                Err(StageError::Snapshot(error)) => self.not_stored(&partition, &error),
                Err(error) => return Err(error),
            }
        }
        failpoint::hit("snapshot.after");
        Ok(())
    }

    /// Tells the tasks what became of their snapshots.
    pub(super) fn stored(&mut self, stored: Stored) -> Result<(), StageError> {
        for (partition, result) in stored {
            if let Err(error) = &result {
                self.not_stored(&partition, error);
            }
            // One that is gone, or was given back meanwhile, has nothing on its way and does not mind.
            if let Some(task) = self.tasks.get_mut(&partition) {
                task.step(Event::Snapshotted(result.ok()))?;
            }
        }
        Ok(())
    }

    /// A store that refuses costs the next restart its speed, not this stage its work: the older snapshot and the log serve,
    /// and retention waits for it.
    fn not_stored(&self, partition: &TopicPartition, error: &SnapshotError) {
        tracing::error!(stage = self.name, %partition, %error, "no snapshot could be stored: a restart will replay from the one before");
        metrics::counter!("aegis_snapshot_failures_total", "stage" => self.name).increment(1);
    }
}
