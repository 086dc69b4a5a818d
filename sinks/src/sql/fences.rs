//! Fences: a job that one of several instances does writes only while nobody with a later token has begun it.
//!
//! The token comes from a lock (`shared::Locks`); the row of the job remembers the greatest that it has seen. Every transaction of the job
//! begins by raising the row to its own token, and is given up where the row is higher. The row stays locked until the transaction ends, so
//! between that look and the commit nobody overtakes.

use super::error::StoreError;
use super::store::{Store, Tx};
use super::value::Value;

/// The token under which an instance does a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The job.
    pub name: String,
    pub token: i64,
}

const RAISE: &str = "INSERT INTO fences (name, token) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET token = excluded.token WHERE fences.token <= excluded.token";

impl Store {
    /// The greatest token that job `name` has seen; 0 where none has.
    pub async fn fence(&self, name: &str) -> Result<i64, StoreError> {
        let sql = "SELECT token FROM fences WHERE name = $1";
        let rows = self.query("reading a fence", sql, &[Value::text(name)]).await?;
        rows.first().map_or(Ok(0), |row| row.int("token"))
    }

    /// Whether the job may still be done under this token; from then on it may not be under a lesser one.
    pub async fn raise_fence(&self, fence: &Fence) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        match tx.stands_behind(fence).await {
            Ok(()) => {}
            Err(StoreError::Overtaken { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        tx.commit().await?;
        Ok(true)
    }
}

impl Tx {
    /// The first statement of each transaction of a job; [`StoreError::Overtaken`] where somebody with a later token has begun it.
    pub async fn stands_behind(&mut self, fence: &Fence) -> Result<(), StoreError> {
        let args = [Value::text(&fence.name), Value::Int(fence.token)];
        match self.execute("raising a fence", RAISE, &args).await? {
            0 => Err(StoreError::Overtaken {
                job: fence.name.clone(),
            }),
            _ => Ok(()),
        }
    }
}
