//! A store before which somebody stands: it goes away, hangs, answers rubbish or late, as a test says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;
use vectors::{Filter, Found, Hit, Point, StoreError, VectorStore};

use super::Store;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Fault {
    #[default]
    None,
    Gone,
    Hangs,
    /// Does what it is asked, and says that it could not.
    DoneAndDenied,
}

pub struct Unreliable {
    inner: Store,
    fault: Mutex<Fault>,
    changed: Notify,
    pub calls: AtomicU64,
}

impl Unreliable {
    pub fn over(inner: Store) -> Arc<Self> {
        Arc::new(Unreliable {
            inner,
            fault: Mutex::default(),
            changed: Notify::new(),
            calls: AtomicU64::new(0),
        })
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        self.changed.notify_waiters();
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    async fn pass(&self) -> Result<Fault, StoreError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        loop {
            let changed = self.changed.notified();
            match self.fault() {
                Fault::Gone => return Err(StoreError::Unavailable("gone".into())),
                Fault::Hangs => changed.await,
                fault => return Ok(fault),
            }
        }
    }
}

fn after<T>(fault: Fault, done: Result<T, StoreError>) -> Result<T, StoreError> {
    match fault {
        Fault::DoneAndDenied => Err(StoreError::Unavailable("the answer got lost".into())),
        _ => done,
    }
}

#[async_trait]
impl VectorStore for Unreliable {
    async fn ensure(&self, collection: &str, dimensions: usize) -> Result<(), StoreError> {
        let fault = self.pass().await?;
        after(fault, self.inner.ensure(collection, dimensions).await)
    }

    async fn upsert(&self, collection: &str, points: Vec<Point>) -> Result<(), StoreError> {
        let fault = self.pass().await?;
        after(fault, self.inner.upsert(collection, points).await)
    }

    async fn get(&self, collection: &str, ids: &[Uuid]) -> Result<Vec<Found>, StoreError> {
        self.pass().await?;
        self.inner.get(collection, ids).await
    }

    async fn query(
        &self,
        collection: &str,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, StoreError> {
        self.pass().await?;
        self.inner.query(collection, vector, filter, limit).await
    }

    async fn count(&self, collection: &str, filter: &Filter) -> Result<u64, StoreError> {
        self.pass().await?;
        self.inner.count(collection, filter).await
    }

    async fn delete(&self, collection: &str, ids: &[Uuid]) -> Result<(), StoreError> {
        let fault = self.pass().await?;
        after(fault, self.inner.delete(collection, ids).await)
    }
}
