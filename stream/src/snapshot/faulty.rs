//! A snapshot store that fails on command: for tests and the simulator.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{ChainBound, SnapshotError, SnapshotStore};

/// What goes wrong with the next write, or with listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Half of the object is written, and the answer is that all is well: a power cut that ate unsynced bytes.
    Torn,
    /// Half of the object is written, and the answer says so.
    DiskFull,
    /// The object is written, but the answer is lost.
    AnswerLost,
    /// The write goes well.
    None,
}

/// Wraps a store. Without commands it is the store.
#[derive(Debug)]
pub struct FaultySnapshots<S> {
    inner: S,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    writes: VecDeque<StoreFault>,
    /// Listings as they were when they were frozen.
    stale: Option<BTreeMap<String, Vec<(String, u64)>>>,
}

impl<S> FaultySnapshots<S> {
    pub fn new(inner: S) -> Self {
        FaultySnapshots {
            inner,
            state: Mutex::default(),
        }
    }

    /// The store behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What happens to the next writes, in order; those after go well.
    pub fn script(&self, writes: impl IntoIterator<Item = StoreFault>) {
        self.state().writes.extend(writes);
    }

    /// From now on each folder's listing stays as it is first seen; `false` ends that.
    pub fn stale_lists(&self, on: bool) {
        self.state().stale = on.then(BTreeMap::new);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: SnapshotStore> SnapshotStore for FaultySnapshots<S> {
    async fn list(&self, folder: &str) -> Result<Vec<(String, u64)>, SnapshotError> {
        let frozen = self.state().stale.as_ref().and_then(|seen| seen.get(folder).cloned());
        if let Some(names) = frozen {
            return Ok(names);
        }
        let names = self.inner.list(folder).await?;
        if let Some(seen) = &mut self.state().stale {
            seen.insert(folder.to_owned(), names.clone());
        }
        Ok(names)
    }

    async fn get(&self, path: &str) -> Result<Option<Bytes>, SnapshotError> {
        self.inner.get(path).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), SnapshotError> {
        let fault = self.state().writes.pop_front().unwrap_or(StoreFault::None);
        let failed = |cause: &str| SnapshotError::Store {
            doing: "writing",
            path: path.to_owned(),
            cause: cause.to_owned(),
        };
        let half = bytes.slice(..bytes.len() / 2);
        match fault {
            StoreFault::None => self.inner.create(path, bytes).await,
            StoreFault::Torn => self.inner.create(path, half).await,
            StoreFault::DiskFull => {
                self.inner.create(path, half).await?;
                Err(failed("no space left on device"))
            }
            StoreFault::AnswerLost => {
                self.inner.create(path, bytes).await?;
                Err(failed("the answer was lost"))
            }
        }
    }

    async fn delete(&self, path: &str) -> Result<(), SnapshotError> {
        self.inner.delete(path).await
    }

    fn chain_bound(&self) -> ChainBound {
        self.inner.chain_bound()
    }
}
