//! Where a sink stands, kept in the store and moved in the transaction that writes the rows.
//!
//! The row of (sink, topic, partition) moves from `start` to `next` only if it stands at `start` and belongs to the same
//! log. A second owner, a repeated range and a lost answer all end the same way: no row moves, nothing is written. A row that is gone
//! (a database that was restored, or lost its last transactions) is no leave to go on: what the rows said before it went with it.

use stream::{LogId, Offset, SinkBatch, SinkError, TopicPartition};

use super::StoreError;
use super::store::{Store, Tx};
use super::value::Value;

const SELECT: &str = "SELECT log_id, next FROM sink_positions WHERE sink = $1 AND topic = $2 AND partition = $3";
const MOVE: &str = "UPDATE sink_positions SET next = $4, owner_epoch = owner_epoch + $7 \
    WHERE sink = $1 AND topic = $2 AND partition = $3 AND next = $5 AND log_id = $6";
const INSERT: &str = "INSERT INTO sink_positions (sink, topic, partition, next, log_id, owner_epoch) \
    VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT DO NOTHING";

/// Where `sink` stands in `partition` of `log`.
pub(super) async fn read(
    store: &Store,
    sink: &str,
    log: &LogId,
    partition: &TopicPartition,
) -> Result<Option<Offset>, SinkError> {
    let rows = store
        .query("reading positions", SELECT, &key(sink, partition))
        .await
        .map_err(|e| e.of(sink))?;
    match rows.first() {
        Some(row) => stored(row, sink, log, partition).map(Some),
        None => Ok(None),
    }
}

/// What was seen when the sink asked where it stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// This is the first write since.
    pub newly_owned: bool,
    /// Nothing stood there.
    pub nothing: bool,
}

/// Moves the position from `batch.start` to `batch.next` in `tx`.
pub(super) async fn advance(
    tx: &mut Tx,
    sink: &str,
    log: &LogId,
    batch: &SinkBatch,
    seen: Seen,
) -> Result<(), SinkError> {
    let (partition, doing) = (&batch.partition, "moving the position");
    let mut args = key(sink, partition).to_vec();
    args.extend([
        Value::unsigned(batch.next.0),
        Value::unsigned(batch.start.0),
        Value::Text(log.0.clone()),
        Value::Int(seen.newly_owned.into()),
    ]);
    if tx.execute(doing, MOVE, &args).await.map_err(|e| e.of(sink))? == 1 {
        return Ok(());
    }
    let moved = |stored| SinkError::PositionMoved {
        sink: sink.to_owned(),
        partition: partition.clone(),
        expected: batch.start,
        stored,
    };
    if let Some(row) = tx
        .query(doing, SELECT, &key(sink, partition))
        .await
        .map_err(|e| e.of(sink))?
        .first()
    {
        let stored = stored(row, sink, log, partition)?;
        return Err(moved(Some(stored)));
    }
    // Before the first record of a log there is nothing to miss.
    if !seen.nothing && batch.start > Offset::default() {
        return Err(moved(None));
    }
    let mut args = key(sink, partition).to_vec();
    args.extend([Value::unsigned(batch.next.0), Value::Text(log.0.clone())]);
    match tx.execute(doing, INSERT, &args).await.map_err(|e| e.of(sink))? {
        1 => Ok(()),
        // Another owner was first, after the query above.
        _ => Err(moved(None)),
    }
}

fn stored(row: &super::store::Row, sink: &str, log: &LogId, partition: &TopicPartition) -> Result<Offset, SinkError> {
    let (log_id, next) = row
        .text("log_id")
        .and_then(|log_id| Ok((log_id, row.int("next")?)))
        .map_err(|e| e.of(sink))?;
    if log_id != log.0 {
        let problem = format!(
            "the store's position of {partition} belongs to log {log_id}, this is log {}",
            log.0
        );
        return Err(SinkError::ForeignPosition {
            sink: sink.to_owned(),
            problem,
        });
    }
    Ok(Offset(u64::try_from(next).unwrap_or_default()))
}

fn key(sink: &str, partition: &TopicPartition) -> [Value; 3] {
    [
        Value::Text(sink.to_owned()),
        Value::Text(partition.topic.to_string()),
        Value::Int(partition.partition.into()),
    ]
}

impl StoreError {
    /// As an error of `sink`.
    pub(super) fn of(self, sink: &str) -> SinkError {
        let (sink, cause) = (sink.to_owned(), self.to_string());
        match self {
            StoreError::Unavailable { .. } => SinkError::Unavailable { sink, cause },
            StoreError::Fatal { .. } | StoreError::Refused { .. } | StoreError::Overtaken { .. } => {
                SinkError::Fatal { sink, cause }
            }
        }
    }
}
