//! What a client missed that is in no history: read from the log for it alone.

use std::sync::Arc;
use std::time::Duration;

use stream::{LogError, Offset, TopicPartition};

use crate::Inner;
use crate::project::{Message, message};

/// Records asked for at once, and how long one wait for them is.
const RECORDS: usize = 500;
const WAIT: Duration = Duration::from_millis(250);
/// Waits without anything after which the client begins anew.
const WAITS: u32 = 20;

/// What was found.
pub enum Missed {
    /// Messages, and the place behind them.
    Messages(Vec<Arc<Message>>, u64),
    /// The log has it no more, or it is too much: only a snapshot helps.
    Gone,
}

/// Some of what stands in `[from, until)` of a partition; without `until`, up to its end.
pub async fn back(
    inner: &Inner,
    partition: &TopicPartition,
    from: u64,
    until: Option<u64>,
) -> Result<Missed, LogError> {
    let log = &inner.stands.log;
    let bounds = log.bounds(partition).await?;
    let until = until.unwrap_or(bounds.end.0);
    if from < bounds.start.0 || from > bounds.end.0 || until.saturating_sub(from) > inner.settings.max_catch_up {
        return Ok(Missed::Gone);
    }
    if from >= until {
        return Ok(Missed::Messages(Vec::new(), from));
    }
    let Ok(_turn) = inner.catching_up.acquire().await else {
        return Ok(Missed::Gone);
    };
    let mut reader = match log.reader(partition, Offset(from)).await {
        Err(LogError::OutOfRange { .. }) => return Ok(Missed::Gone),
        other => other?,
    };
    for _ in 0..WAITS {
        let (records, next) = match reader.read(RECORDS, WAIT).await {
            Err(LogError::OutOfRange { .. }) => return Ok(Missed::Gone),
            other => other?,
        };
        if next.0 > from {
            let before = records.iter().filter(|record| record.offset.0 < until);
            let told = before.filter_map(|record| message(partition, record)).map(Arc::new);
            return Ok(Missed::Messages(told.collect(), next.0.min(until)));
        }
    }
    Ok(Missed::Gone)
}
