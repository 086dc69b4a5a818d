//! Reads a stretch of one partition, outside any group.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use stream::{Log, LogError, Offset, Record, TopicPartition};

/// Records asked for at once. A reader that hands out less is asked again.
const RECORDS: usize = 1_000;
/// One wait for records. A stretch may end in offsets without any (a broker's transaction markers); that shows after a wait,
/// so a longer one makes the end of every partition slower.
const WAIT: Duration = Duration::from_millis(250);
/// Waits without anything after which the log is called away.
const WAITS: u32 = 120;

/// Shows `each` the records of `[from, to)` in order, until it breaks. Offsets may have holes; a stretch whose records are all
/// gone or that holds none is empty.
pub async fn scan(
    log: &Arc<dyn Log>,
    partition: &TopicPartition,
    from: Offset,
    to: Offset,
    mut each: impl FnMut(&Record) -> ControlFlow<()>,
) -> Result<(), LogError> {
    if from >= to {
        return Ok(());
    }
    let (mut at, mut silent) = (from, 0);
    let mut reader = match log.reader(partition, from).await {
        Err(LogError::OutOfRange { start, .. }) if start > from => {
            at = start;
            log.reader(partition, start).await?
        }
        other => other?,
    };
    while at < to {
        let (records, next) = match reader.read(RECORDS, WAIT).await {
            // Retention was faster: what it took is gone, the rest is not.
            Err(LogError::OutOfRange { start, .. }) if start > at => {
                reader = log.reader(partition, start).await?;
                (Vec::new(), start)
            }
            other => other?,
        };
        for record in records.iter().filter(|record| record.offset < to) {
            if each(record).is_break() {
                return Ok(());
            }
        }
        silent = if next == at { silent + 1 } else { 0 };
        if silent == WAITS {
            return Err(LogError::Unavailable {
                doing: format!("reading {partition} from {} to {}", at.0, to.0),
                cause: format!("nothing came for {} s", (WAIT * WAITS).as_secs()),
            });
        }
        at = next;
    }
    Ok(())
}
