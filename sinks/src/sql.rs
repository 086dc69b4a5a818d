//! The SQL sink: incidents, their members and history, signals, dead letters and notifications as tables of SQLite or
//! PostgreSQL (with or without TimescaleDB).
//!
//! Guarantees: rows and positions move in one transaction, so every record's rows are there exactly once, whatever
//! stops in the middle. An incident's row is never replaced by an older revision. A record that can never be written
//! is handed back as a reject and the rest goes on.
//!
//! Beside the rows stand counts by minute, hour and day, and the counts of the stages by ten seconds.
//!
//! On overload the log holds what the store cannot take yet. On restart the sink starts where its stored position says.
//! A store that is away is [`SinkError::Unavailable`]; the runner sends the batch again. If a commit's answer is lost,
//! that second attempt finds the position moved, and nothing is written twice.
//!
//! | file | what |
//! |---|---|
//! | `rows` | a record's rows (pure) |
//! | `response` | rows of the crew's steps and of remediations (pure) |
//! | `value` | what a cell may hold, and how hostile text is cleaned |
//! | `tables` | columns and conflict rules |
//! | `positions` | the rule that moves positions |
//! | `store`, `sqlite`, `postgres` | connections, transactions, dialects |
//! | `copy` | rows by binary COPY, on PostgreSQL |
//! | `rollups` | counts by minute, hour and day, where the database does not keep them |
//! | `timescale` | hypertables, compression and continuous aggregates, where the extension is installed |
//! | `fences` | jobs that one of several instances does |
//! | `rebuild` | tables filled anew from the log, and put in place |
//! | `retention` | forgets what is older than the settings say |
//! | `reads` | typed queries for the command line and the API |

mod copy;
mod deliveries;
mod error;
mod fences;
mod positions;
mod postgres;
mod reads;
mod rebuild;
mod response;
mod retention;
mod rollups;
mod rows;
mod silenced;
mod sqlite;
mod store;
mod tables;
mod timescale;
mod value;
mod workers;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use model::signing::{self, Message, Signer, Verdict};
use model::topics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::log::Topic;
use stream::secret::Secret;
use stream::{LogId, Offset, Record, Sink, SinkBatch, SinkError, SinkReject, TopicPartition};

pub use deliveries::{Button, Held, Thread};
pub use error::StoreError;
pub use fences::Fence;
pub use reads::{Counts, EventRow, IncidentDetail, IncidentFilter, IncidentRow, MemberRow};
pub use rebuild::Shadow;
pub use retention::{Forgotten, RetentionSettings};
pub use silenced::Silenced;
pub use store::Store;
pub(crate) use value::clamp_micros;
pub use workers::{ExecutionRow, LetterRow, RemediationRow, ResponseFilter};

use rollups::{Deltas, Of};
use rows::Changes;
use store::Tx;
use value::Value;

/// Where the tables are.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqlSettings {
    /// `sqlite://PATH` or `postgres://USER@HOST:PORT/DATABASE`. Empty: SQLite in `aegis.db` of the data folder.
    pub url: String,
    /// Password for PostgreSQL, by reference, so that it does not have to stand in the URL.
    pub password: Option<Secret>,
    pub retention: RetentionSettings,
}

impl SqlSettings {
    /// The URL to open, once the data folder is known.
    pub fn url_in(&self, data_dir: &Path) -> String {
        if self.url.is_empty() {
            format!("sqlite://{}", data_dir.join("aegis.db").display())
        } else {
            self.url.clone()
        }
    }

    pub async fn open(&self, data_dir: &Path) -> Result<Store, StoreError> {
        Store::open_with(&self.url_in(data_dir), self.password.as_ref().map(Secret::expose)).await
    }
}

impl fmt::Debug for SqlSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlSettings")
            .field("url", &without_password(&self.url))
            .field("password", &self.password)
            .field("retention", &self.retention)
            .finish()
    }
}

/// `url` as it may be printed: a password in it is replaced.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else {
        return url.to_owned();
    };
    match rest[..at].split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:[secret]{}", &rest[at..]),
        None => url.to_owned(),
    }
}

/// The sink. One instance owns the partitions it is assigned.
pub struct SqlSink {
    store: Store,
    /// Assigned since their last write, which counts as a change of owner; and whether the store said where they stand.
    newly_owned: BTreeMap<TopicPartition, Option<Offset>>,
    signer: Signer,
}

impl SqlSink {
    /// Part of the stored positions.
    pub const NAME: &'static str = "sql";
    /// Its name as a reader of the log, in dead letters and what is sent again on account of them.
    pub const STAGE: &'static str = "sink.sql";

    /// A sink that writes to `store`, whose tables have been migrated.
    pub fn new(store: Store) -> Self {
        SqlSink {
            store,
            newly_owned: BTreeMap::new(),
            signer: Signer::without_key(),
        }
    }

    /// Rows of what `signer` knows alone: a forged fact changes no row. The gate and the crew bury it.
    pub fn believing(self, signer: Signer) -> Self {
        SqlSink { signer, ..self }
    }

    fn believed(&self, from: &TopicPartition, record: &Record) -> bool {
        let step = *from.topic == *topics::INCIDENTS && record.header(topics::header::TYPE).is_some();
        if !step && *from.topic != *topics::REMEDIATIONS {
            return true;
        }
        let message = Message {
            topic: &from.topic,
            key: record.key.as_deref().unwrap_or_default(),
            value: &record.value,
        };
        let header = record.header(signing::HEADER).map(|header| &**header);
        !matches!(self.signer.check(message, header), Verdict::Forged(_))
    }

    /// Everything in one go, unless some record cannot be read: then nothing, and those are named. `Refused` means that the
    /// store did not like some row; nothing was written.
    async fn write_together(&self, log: &LogId, batches: &[SinkBatch]) -> Result<Written, SinkError> {
        let mut changes = Changes::default();
        let mut rejects = Vec::new();
        for batch in batches {
            for record in batch
                .records
                .iter()
                .filter(|record| self.believed(&batch.partition, record))
            {
                rejects.extend(changes.add(&batch.partition, record).err());
            }
        }
        if !rejects.is_empty() {
            return Ok(Written::Done(rejects));
        }
        let mut tx = self.begin(log, batches).await?;
        match apply(&mut tx, changes).await {
            Ok(()) => tx.commit().await.map_err(|e| e.of(Self::NAME))?,
            Err(StoreError::Refused { .. }) => return Ok(Written::Refused),
            Err(e) => return Err(e.of(Self::NAME)),
        }
        Ok(Written::Done(rejects))
    }

    /// The slow way, taken only when the store refuses a row: each record on its own, behind a savepoint.
    async fn write_singly(&self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let mut rejects = Vec::new();
        let mut tx = self.begin(log, batches).await?;
        for batch in batches {
            for record in batch
                .records
                .iter()
                .filter(|record| self.believed(&batch.partition, record))
            {
                let mut changes = Changes::default();
                if let Err(reject) = changes.add(&batch.partition, record) {
                    rejects.push(reject);
                } else if let Err(cause) = apply_or_undo(&mut tx, changes).await.map_err(|e| e.of(Self::NAME))? {
                    let partition = batch.partition.clone();
                    rejects.push(SinkReject {
                        partition,
                        offset: record.offset,
                        reason: "refused_by_store",
                        detail: cause,
                    });
                }
            }
        }
        if rejects.is_empty() {
            tx.commit().await.map_err(|e| e.of(Self::NAME))?;
        }
        // Else the transaction is dropped and undone: what is refused must be buried before the position passes it.
        Ok(rejects)
    }

    fn seen(&self, partition: &TopicPartition) -> positions::Seen {
        let asked = self.newly_owned.get(partition);
        positions::Seen {
            newly_owned: asked.is_some(),
            nothing: asked.is_some_and(Option::is_none),
        }
    }

    /// A transaction in which the positions have moved already: a second owner waits here, and then finds out.
    async fn begin(&self, log: &LogId, batches: &[SinkBatch]) -> Result<Tx, SinkError> {
        let mut tx = self.store.begin().await.map_err(|e| e.of(Self::NAME))?;
        // One order for everybody, or two owners of several partitions could wait for each other.
        let mut ordered: Vec<&SinkBatch> = batches.iter().collect();
        ordered.sort_by(|a, b| a.partition.cmp(&b.partition));
        for batch in ordered {
            positions::advance(&mut tx, Self::NAME, log, batch, self.seen(&batch.partition)).await?;
        }
        Ok(tx)
    }
}

enum Written {
    Done(Vec<SinkReject>),
    Refused,
}

#[async_trait]
impl Sink for SqlSink {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn topics(&self) -> Vec<Topic> {
        [
            topics::SIGNALS,
            topics::INCIDENTS,
            topics::DEAD_LETTER,
            topics::NOTIFICATIONS,
            topics::REMEDIATIONS,
            topics::ACCOUNTING,
        ]
        .map(Topic::from)
        .to_vec()
    }

    async fn position(&mut self, log: &LogId, partition: &TopicPartition) -> Result<Option<Offset>, SinkError> {
        let position = positions::read(&self.store, Self::NAME, log, partition).await?;
        self.newly_owned.insert(partition.clone(), position);
        Ok(position)
    }

    async fn write(&mut self, log: &LogId, batches: &[SinkBatch]) -> Result<Vec<SinkReject>, SinkError> {
        let rejects = match self.write_together(log, batches).await? {
            Written::Done(rejects) => rejects,
            Written::Refused => self.write_singly(log, batches).await?,
        };
        if rejects.is_empty() {
            for batch in batches {
                self.newly_owned.remove(&batch.partition);
            }
        }
        Ok(rejects)
    }
}

async fn apply(tx: &mut Tx, changes: Changes) -> Result<(), StoreError> {
    let writes = changes.into_writes();
    let counted = writes.is_counted() && tx.keeps_rollups().await?;
    let mut deltas = Deltas::default();
    for incident in writes.emptied {
        let args = [Value::Uuid(incident.0)];
        tx.execute(
            "moving members",
            "DELETE FROM incident_members WHERE incident_id = $1",
            &args,
        )
        .await?;
    }
    for rows in writes.rows.iter().filter(|rows| !rows.rows.is_empty()) {
        match rollups::counted(rows.table.name).filter(|_| counted) {
            None => {
                tx.insert(rows).await?;
            }
            // Every record adds something.
            Some(of @ Of::PipelineMetrics) => {
                tx.insert(rows).await?;
                rows.rows.iter().for_each(|row| deltas.add_row(of, row));
            }
            Some(of) => {
                for row in tx.insert_new(rows).await? {
                    deltas.add_row(of, row);
                }
            }
        }
    }
    // Behind the letters: a fact about one never stands before it.
    for letter in writes.dealt_with {
        let sql = "UPDATE dead_letters SET status = $1, dealt_at = $2, because = $3 \
                   WHERE log_partition = $4 AND log_offset = $5";
        tx.execute("dead_letters", sql, &letter).await?;
    }
    for placeholder in writes.placeholders {
        tx.execute("incidents", response::PLACEHOLDER, &placeholder).await?;
    }
    for row in writes.executions {
        response::step(tx, row, &mut deltas).await?;
    }
    for row in writes.remediations {
        response::propose(tx, row, &mut deltas).await?;
    }
    for moved in writes.moved {
        response::move_on(tx, moved, &mut deltas).await?;
    }
    if counted {
        deltas.write(tx).await?;
    }
    Ok(())
}

/// The inner error is why the store refused; the transaction stands as before.
async fn apply_or_undo(tx: &mut Tx, changes: Changes) -> Result<Result<(), String>, StoreError> {
    let doing = "isolating a refused row";
    tx.execute(doing, "SAVEPOINT record", &[]).await?;
    match apply(tx, changes).await {
        Ok(()) => {
            tx.execute(doing, "RELEASE SAVEPOINT record", &[]).await?;
            Ok(Ok(()))
        }
        Err(StoreError::Refused { cause, .. }) => {
            tx.execute(doing, "ROLLBACK TO SAVEPOINT record", &[]).await?;
            tx.execute(doing, "RELEASE SAVEPOINT record", &[]).await?;
            Ok(Err(cause))
        }
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_are_not_printed() {
        let check = |url: &str, printed: &str| assert_eq!(without_password(url), printed);
        check(
            "postgres://aegis:s3c@ret@db:5432/aegis",
            "postgres://aegis:[secret]@db:5432/aegis",
        );
        check("postgres://aegis@db/aegis", "postgres://aegis@db/aegis");
        check("sqlite:///var/lib/aegis.db", "sqlite:///var/lib/aegis.db");
    }
}
