//! What the log keeps on `fjall`: its identity, the topics, the groups' positions, and where the batches of sealed
//! files lie.
//!
//! Everything here is synced when the call returns, and it is never ahead of the files: a file is on the disk before it
//! is sealed here. What happened since the last sealing stands in the frames of the file that is being written.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use serde::{Deserialize, Serialize};
use stream::log::Topic;
use stream::{Instant, Offset};
use uuid::Uuid;

const ID_KEY: &str = "id";
const SECRET_KEY: &str = "secret";
const SEALED_KEY: &str = "sealed";
const TOPIC_PREFIX: &str = "topic.";
const MEMTABLE_BYTES: u64 = 1 << 20;
const CACHE_BYTES: u64 = 2 << 20;
/// The least that the engine accepts.
const JOURNAL_BYTES: u64 = 64 << 20;

/// Why the catalog cannot be read or written; for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CatalogError(String);

pub struct Catalog {
    db: Database,
    /// Identity and topics.
    main: Keyspace,
    positions: Keyspace,
    /// First offset kept, per partition that retention has touched.
    starts: Keyspace,
    parts: Keyspace,
    /// Per part, where its batches lie. Apart from the parts, because opening the log reads all of those and none of these.
    spots: Keyspace,
    pub id: String,
    /// Known to nobody outside: see [`super::frame`].
    pub secret: u128,
}

/// Topic number and partition.
pub type At = (u32, u32);

/// A topic as it is stored.
#[derive(Serialize, Deserialize)]
pub struct StoredTopic {
    pub number: u32,
    pub partitions: u32,
    pub retention_ms: Option<u64>,
    pub retention_bytes: Option<u64>,
}

/// Batches of one partition that follow each other in offsets and lie in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartKey {
    pub file: u64,
    pub topic: u32,
    pub partition: u32,
    pub base: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPart {
    /// The offset after its last record.
    pub end: u64,
    pub bytes: u64,
    /// When its newest batch was appended.
    pub appended_at: Instant,
}

/// Where a batch lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    pub base: u64,
    pub at: u32,
    pub length: u32,
}

/// Where a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub group: String,
    pub topic: u32,
    pub partition: u32,
    pub next: Offset,
}

/// One sealing: what the file holds, and where the groups stood at its end.
pub struct Sealing {
    pub file: u64,
    pub parts: Vec<(PartKey, StoredPart, Vec<Spot>)>,
    pub positions: Vec<Position>,
}

impl Catalog {
    /// Opens or creates the catalog in `folder`, which no other process may have open.
    pub fn open(folder: &Path) -> Result<Self, CatalogError> {
        let db = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .manual_journal_persist(true)
            .open()
            .map_err(|error| open_error(folder, &error))?;
        let keyspace = |name: &str| {
            db.keyspace(name, || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(MEMTABLE_BYTES)
                    .manual_journal_persist(true)
            })
        };
        let main = keyspace("catalog")?;
        let (id, secret) = match (main.get(ID_KEY)?, main.get(SECRET_KEY)?) {
            (Some(id), Some(secret)) => {
                let secret = secret.as_ref().try_into().map_err(|_| malformed("secret"))?;
                (String::from_utf8_lossy(&id).into_owned(), u128::from_be_bytes(secret))
            }
            _ => {
                let (id, secret) = (Uuid::new_v4().to_string(), Uuid::new_v4().as_u128());
                let mut batch = db.batch();
                batch.insert(&main, ID_KEY, id.as_bytes());
                batch.insert(&main, SECRET_KEY, secret.to_be_bytes());
                durably(batch)?;
                (id, secret)
            }
        };
        Ok(Catalog {
            positions: keyspace("positions")?,
            starts: keyspace("starts")?,
            parts: keyspace("parts")?,
            spots: keyspace("spots")?,
            main,
            db,
            id,
            secret,
        })
    }

    pub fn topics(&self) -> Result<Vec<(Topic, StoredTopic)>, CatalogError> {
        let mut topics = Vec::new();
        for entry in self.main.prefix(TOPIC_PREFIX) {
            let (key, value) = entry.into_inner()?;
            let name: Topic = String::from_utf8_lossy(&key[TOPIC_PREFIX.len()..]).into();
            let topic = serde_json::from_slice(&value).map_err(|_| malformed(&format!("topic {name}")))?;
            topics.push((name, topic));
        }
        Ok(topics)
    }

    pub fn store_topics(&self, topics: &[(Topic, StoredTopic)]) -> Result<(), CatalogError> {
        let mut batch = self.db.batch();
        for (name, topic) in topics {
            let value = serde_json::to_vec(topic).map_err(|error| CatalogError(error.to_string()))?;
            batch.insert(&self.main, format!("{TOPIC_PREFIX}{name}"), value);
        }
        durably(batch)
    }

    /// The newest sealed file; 0 before the first.
    pub fn sealed(&self) -> Result<u64, CatalogError> {
        match self.main.get(SEALED_KEY)? {
            Some(value) => number(&value).ok_or_else(|| malformed("number of the sealed file")),
            None => Ok(0),
        }
    }

    /// Positions as they were when the newest file was sealed.
    pub fn positions(&self) -> Result<Vec<Position>, CatalogError> {
        let mut positions = Vec::new();
        for entry in self.positions.iter() {
            let (key, value) = entry.into_inner()?;
            positions.push(parse_position(&key, &value).ok_or_else(|| malformed("consumer position"))?);
        }
        Ok(positions)
    }

    /// First offset kept, of every partition that retention has touched.
    pub fn starts(&self) -> Result<Vec<(At, u64)>, CatalogError> {
        let mut starts = Vec::new();
        for entry in self.starts.iter() {
            let (key, value) = entry.into_inner()?;
            let parsed = number(&key).zip(number(&value));
            let (at, start) = parsed.ok_or_else(|| malformed("start of a partition"))?;
            starts.push((((at >> 32) as u32, at as u32), start));
        }
        Ok(starts)
    }

    /// The parts of all sealed files, oldest file first.
    pub fn parts(&self) -> Result<Vec<(PartKey, StoredPart)>, CatalogError> {
        let mut parts = Vec::new();
        for entry in self.parts.iter() {
            let (key, value) = entry.into_inner()?;
            let part = postcard::from_bytes(&value).ok();
            parts.push(
                PartKey::parse(&key)
                    .zip(part)
                    .ok_or_else(|| malformed("part of a file"))?,
            );
        }
        Ok(parts)
    }

    /// Where the batches of a part lie; `None` when the part is gone.
    pub fn spots(&self, key: PartKey) -> Result<Option<Vec<Spot>>, CatalogError> {
        match self.spots.get(key.bytes())? {
            Some(value) => postcard::from_bytes(&value)
                .map(Some)
                .map_err(|_| malformed("place of a batch")),
            None => Ok(None),
        }
    }

    /// Takes a file in, whole. It must be on the disk.
    pub fn seal(&self, sealing: &Sealing) -> Result<(), CatalogError> {
        let mut batch = self.db.batch();
        let encoded =
            |result: Result<Vec<u8>, postcard::Error>| result.map_err(|error| CatalogError(error.to_string()));
        for (key, part, spots) in &sealing.parts {
            batch.insert(&self.parts, key.bytes(), encoded(postcard::to_stdvec(part))?);
            batch.insert(&self.spots, key.bytes(), encoded(postcard::to_stdvec(spots))?);
        }
        for position in &sealing.positions {
            batch.insert(&self.positions, position.key(), position.next.0.to_be_bytes());
        }
        batch.insert(&self.main, SEALED_KEY, sealing.file.to_be_bytes());
        durably(batch)
    }

    /// Parts that nobody may read any more, and where their partitions start now.
    pub fn forget(&self, parts: &[PartKey], starts: &[(At, u64)]) -> Result<(), CatalogError> {
        let mut batch = self.db.batch();
        for key in parts {
            batch.remove(&self.parts, key.bytes());
            batch.remove(&self.spots, key.bytes());
        }
        for ((topic, partition), start) in starts {
            let key = u64::from(*topic) << 32 | u64::from(*partition);
            batch.insert(&self.starts, key.to_be_bytes(), start.to_be_bytes());
        }
        durably(batch)
    }

    pub fn disk_bytes(&self) -> Result<u64, CatalogError> {
        Ok(self.db.disk_space()?)
    }
}

impl PartKey {
    fn bytes(self) -> Vec<u8> {
        let mut key = self.file.to_be_bytes().to_vec();
        key.extend_from_slice(&self.topic.to_be_bytes());
        key.extend_from_slice(&self.partition.to_be_bytes());
        key.extend_from_slice(&self.base.to_be_bytes());
        key
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let (file, rest) = key.split_at_checked(8)?;
        let (at, base) = rest.split_at_checked(8)?;
        let at = number(at)?;
        Some(PartKey {
            file: number(file)?,
            topic: (at >> 32) as u32,
            partition: at as u32,
            base: number(base)?,
        })
    }
}

impl Position {
    /// Group, a zero, topic number, partition.
    fn key(&self) -> Vec<u8> {
        let mut key = self.group.as_bytes().to_vec();
        key.push(0);
        key.extend_from_slice(&self.topic.to_be_bytes());
        key.extend_from_slice(&self.partition.to_be_bytes());
        key
    }
}

fn parse_position(key: &[u8], value: &[u8]) -> Option<Position> {
    let (group, numbers) = key.split_at_checked(key.len().checked_sub(9)?)?;
    let at = number(&numbers[1..])?;
    Some(Position {
        group: String::from_utf8(group.to_vec()).ok()?,
        topic: (at >> 32) as u32,
        partition: at as u32,
        next: Offset(number(value)?),
    })
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn durably(batch: OwnedWriteBatch) -> Result<(), CatalogError> {
    Ok(batch.durability(Some(PersistMode::SyncAll)).commit()?)
}

fn malformed(what: &str) -> CatalogError {
    CatalogError(format!(
        "malformed {what}: restore the folder from a backup, or start with a new one"
    ))
}

fn open_error(folder: &Path, error: &fjall::Error) -> CatalogError {
    let folder = folder.parent().unwrap_or(folder).display();
    match error {
        fjall::Error::Locked => CatalogError(format!(
            "another process has {folder} open: stop it, talk to it through its socket, or name another folder"
        )),
        fjall::Error::InvalidVersion(_) => CatalogError(
            "the catalog was written by another version of its engine: use the program that wrote it".to_owned(),
        ),
        fjall::Error::JournalRecovery(cause) => CatalogError(format!(
            "the catalog's journal is damaged ({cause:?}): restore the folder from a backup, or start with a new one"
        )),
        other => CatalogError(describe(other)),
    }
}

impl From<fjall::Error> for CatalogError {
    fn from(error: fjall::Error) -> Self {
        CatalogError(describe(&error))
    }
}

/// The engine's error without its type names.
fn describe(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(cause) => cause.to_string(),
        fjall::Error::Storage(cause) => format!("storage: {cause}"),
        fjall::Error::Poisoned => "an earlier write failed; restart when its cause is mended".to_owned(),
        other => format!("{other:?}"),
    }
}
