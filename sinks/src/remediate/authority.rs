//! Whom the executor believes: only facts that the gate signed, each where it was written, and once.
//!
//! A signature shows who wrote a record and where it belongs. That a record is the first of its kind it cannot show: who can read and
//! write the topic can append a genuine grant once more. Each fact of the gate has a place in the ledger's chain which the signature
//! covers, so of two records with one place the later is a copy, and the log itself tells which is the later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::signing::{self, Message, Signer, Verdict};
use model::topics;
use stream::partition::partition_for;
use stream::{Log, LogError, Offset, Record, TopicPartition};
use tokio::sync::Mutex;

use crate::worker::{NotTaken, real_partition};

/// Records asked for at once, and how long one answer is waited for.
const READ: (usize, Duration) = (1_000, Duration::from_millis(250));
/// Answers without a record after which the log counts as away.
const SILENT: u32 = 40;

/// Tells the gate's own facts from all others.
pub struct Authority {
    signer: Signer,
    log: Arc<dyn Log>,
    /// By partition: what was seen of it.
    seen: Mutex<BTreeMap<u32, Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Everything before it was looked at.
    to: Offset,
    /// Where each place of the chain stood first.
    first: BTreeMap<String, Offset>,
}

impl Authority {
    pub fn new(signer: Signer, log: Arc<dyn Log>) -> Self {
        Authority {
            signer,
            log,
            seen: Mutex::default(),
        }
    }

    /// Whether somebody of this installation wrote `record`, wherever it stands.
    pub fn signed(&self, record: &Record) -> bool {
        matches!(self.verdict(record), Verdict::Authentic { .. })
    }

    /// Holds a record of `from` to be the gate's own and the first of its kind, or says why not.
    pub async fn require(&self, from: &TopicPartition, record: &Record) -> Result<(), NotTaken> {
        let refused = |detail: &str| NotTaken::Refused {
            reason: "forged",
            detail: detail.to_owned(),
        };
        let position = match self.verdict(record) {
            Verdict::Authentic { position } if !position.is_empty() => position,
            Verdict::Authentic { .. } => return Err(refused("it is signed, but it is not the gate's")),
            Verdict::Unchecked => return Err(refused("there is no key to check it with: set signing.keys")),
            Verdict::Forged(why) => return Err(refused(why)),
        };
        let away = |error: LogError| NotTaken::Unavailable(error.to_string());
        let partitions = self.log.partitions(topics::REMEDIATIONS).await.map_err(away)?;
        let number = real_partition(from);
        let key = record.key.as_deref().unwrap_or_default();
        if partition_for(key, partitions) != number {
            return Err(refused("it is a copy: its key belongs to another partition"));
        }
        let first = self.first(number, &position, record.offset).await.map_err(away)?;
        if first < record.offset {
            return Err(refused(&format!("it is a copy of the record at {}", first.0)));
        }
        Ok(())
    }

    fn verdict(&self, record: &Record) -> Verdict {
        let message = Message {
            topic: topics::REMEDIATIONS,
            key: record.key.as_deref().unwrap_or_default(),
            value: &record.value,
        };
        self.signer
            .check(message, record.header(signing::HEADER).map(|header| &**header))
    }

    /// Where `position` stood first, of the records up to the one at `offset`, which has it.
    async fn first(&self, number: u32, position: &str, offset: Offset) -> Result<Offset, LogError> {
        let mut all = self.seen.lock().await;
        let seen = all.entry(number).or_default();
        self.look(number, seen, offset).await?;
        Ok(seen.first.get(position).copied().unwrap_or(offset))
    }

    /// Looks at what stands before `to` and was not looked at yet.
    async fn look(&self, number: u32, seen: &mut Seen, to: Offset) -> Result<(), LogError> {
        let partition = TopicPartition::new(topics::REMEDIATIONS, number);
        let start = self.log.bounds(&partition).await?.start;
        seen.to = seen.to.max(start);
        if seen.to >= to {
            return Ok(());
        }
        let mut reader = self.log.reader(&partition, seen.to).await?;
        let mut silent = 0;
        while seen.to < to {
            let (records, next) = reader.read(READ.0, READ.1).await?;
            silent = if next == seen.to { silent + 1 } else { 0 };
            if silent == SILENT {
                return Err(LogError::Unavailable {
                    doing: format!("reading {partition} from {}", seen.to.0),
                    cause: "nothing came".to_owned(),
                });
            }
            for record in records {
                if let Verdict::Authentic { position } = self.verdict(&record)
                    && !position.is_empty()
                {
                    let first = seen.first.entry(position).or_insert(record.offset);
                    *first = (*first).min(record.offset);
                }
            }
            seen.to = next;
        }
        Ok(())
    }
}
