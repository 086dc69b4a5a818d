//! What the writer thread and the readers share: the open database, the topics, the groups.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use serde::{Deserialize, Serialize};
use stream::log::membership::{Groups, lock};
use stream::log::{Retention, Topic};
use stream::{Clock, LogError, LogId, Offset, TopicPartition, TopicSpec};
use tokio::sync::Notify;
use uuid::Uuid;

use super::EmbeddedSettings;
use super::segments::{self, PartitionState, ReadError, Segment};

const ID_KEY: &str = "id";
const TOPIC_PREFIX: &str = "topic.";
const MEMTABLE_OF_SMALL_KEYSPACES: u64 = 1 << 20;
/// Below this a partition's cached tail would not hold one usual batch.
const LEAST_CACHE_BYTES: usize = 128 << 10;

pub struct Core {
    pub folder: PathBuf,
    pub settings: EmbeddedSettings,
    pub clock: Arc<dyn Clock>,
    pub id: LogId,
    pub db: Database,
    /// Log id and topics.
    catalog: Keyspace,
    pub positions: Keyspace,
    topics: RwLock<BTreeMap<Topic, Arc<TopicState>>>,
    pub groups: Groups,
    pub changed: Notify,
    /// Held while topics are created.
    creating: Mutex<()>,
}

pub struct TopicState {
    /// Names the topic's segments and positions. Never reused.
    pub number: u32,
    pub retention: Retention,
    pub partitions: Vec<Arc<Partition>>,
}

pub struct Partition {
    pub topic: u32,
    pub at: TopicPartition,
    pub state: Mutex<PartitionState>,
}

/// A topic as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredTopic {
    number: u32,
    partitions: u32,
    retention_ms: Option<u64>,
    retention_bytes: Option<u64>,
}

impl Core {
    /// Opens or creates the folder and checks the newest batch of every segment. Blocks.
    pub fn open(folder: PathBuf, settings: EmbeddedSettings, clock: Arc<dyn Clock>) -> Result<Self, LogError> {
        let failed = |error: fjall::Error| open_error(&folder, &error);
        let db = Database::builder(&folder)
            .cache_size(settings.block_cache.get())
            .max_journaling_size(settings.journal.get().max(64 << 20))
            .worker_threads(1)
            .manual_journal_persist(true)
            .open()
            .map_err(failed)?;
        let small = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_OF_SMALL_KEYSPACES)
                .manual_journal_persist(true)
        };
        let catalog = db.keyspace("catalog", small).map_err(failed)?;
        let positions = db.keyspace("positions", small).map_err(failed)?;
        let id = match catalog.get(ID_KEY).map_err(failed)? {
            Some(id) => LogId(String::from_utf8_lossy(&id).into_owned()),
            None => {
                let id = Uuid::new_v4().to_string();
                catalog.insert(ID_KEY, id.as_bytes()).map_err(failed)?;
                db.persist(PersistMode::SyncAll).map_err(failed)?;
                LogId(id)
            }
        };
        let core = Core {
            settings,
            clock,
            id,
            db,
            catalog,
            positions,
            topics: RwLock::default(),
            groups: Groups::default(),
            changed: Notify::new(),
            creating: Mutex::default(),
            folder: folder.clone(),
        };
        core.recover()?;
        Ok(core)
    }

    pub fn topic(&self, name: &str) -> Result<Arc<TopicState>, LogError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics
            .get(name)
            .cloned()
            .ok_or_else(|| LogError::UnknownTopic(name.into()))
    }

    pub fn topics(&self) -> Vec<Arc<TopicState>> {
        self.topics
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    pub fn partition(&self, at: &TopicPartition) -> Result<Arc<Partition>, LogError> {
        let topic = self.topic(&at.topic)?;
        let found = topic.partitions.get(at.partition as usize);
        found.cloned().ok_or_else(|| LogError::UnknownPartition(at.clone()))
    }

    /// The share of the cache that one partition may fill.
    pub fn cache_share(&self) -> usize {
        if self.settings.cache.get() == 0 {
            return 0;
        }
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let partitions: usize = topics.values().map(|topic| topic.partitions.len()).sum();
        (self.settings.cache.as_usize() / partitions.max(1)).max(LEAST_CACHE_BYTES)
    }

    /// Creates what is missing, durably. Blocks.
    pub fn ensure_topics(&self, wanted: &[TopicSpec]) -> Result<(), LogError> {
        let _creating = lock(&self.creating);
        for spec in wanted {
            if let Ok(topic) = self.topic(&spec.name)
                && topic.partitions.len() != spec.partitions as usize
            {
                let found = topic.partitions.len() as u32;
                return Err(LogError::PartitionCount {
                    topic: spec.name.clone(),
                    found,
                    wanted: spec.partitions,
                });
            }
        }
        let mut next = self.topics().iter().map(|topic| topic.number + 1).max().unwrap_or(0);
        let mut changed = Vec::new();
        let mut stored = self.db.batch();
        for spec in wanted {
            let (number, partitions) = match self.topic(&spec.name) {
                Ok(topic) if topic.retention == spec.retention => continue,
                Ok(topic) => (topic.number, topic.partitions.clone()),
                Err(_) => {
                    next += 1;
                    (next - 1, fresh_partitions(next - 1, &spec.name, spec.partitions))
                }
            };
            let entry = StoredTopic {
                number,
                partitions: spec.partitions,
                retention_ms: spec.retention.time.map(|time| time.as_millis() as u64),
                retention_bytes: spec.retention.bytes,
            };
            let value = serde_json::to_vec(&entry).map_err(|error| self.fatal("storing a topic", error))?;
            stored.insert(&self.catalog, format!("{TOPIC_PREFIX}{}", spec.name), value);
            let state = TopicState {
                number,
                retention: spec.retention,
                partitions,
            };
            changed.push((spec.name.clone(), Arc::new(state)));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let durable = stored.durability(Some(PersistMode::SyncAll)).commit();
        durable.map_err(|error| self.fatal("creating topics", describe(&error)))?;
        self.topics
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(changed);
        self.changed.notify_waiters();
        Ok(())
    }

    pub fn fatal(&self, doing: &str, cause: impl ToString) -> LogError {
        LogError::Fatal {
            doing: format!("{doing} in {}", self.folder.display()),
            cause: cause.to_string(),
        }
    }

    fn recover(&self) -> Result<(), LogError> {
        let mut by_number = BTreeMap::new();
        {
            let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
            for entry in self.catalog.prefix(TOPIC_PREFIX) {
                let (key, value) = entry.into_inner().map_err(|error| open_error(&self.folder, &error))?;
                let name: Topic = String::from_utf8_lossy(&key[TOPIC_PREFIX.len()..]).into();
                let topic: StoredTopic = serde_json::from_slice(&value)
                    .map_err(|error| self.fatal(&format!("reading topic {name}"), error))?;
                let retention = Retention {
                    time: topic.retention_ms.map(std::time::Duration::from_millis),
                    bytes: topic.retention_bytes,
                };
                let partitions = fresh_partitions(topic.number, &name, topic.partitions);
                by_number.extend(partitions.iter().map(|p| ((topic.number, p.at.partition), p.clone())));
                let state = TopicState {
                    number: topic.number,
                    retention,
                    partitions,
                };
                topics.insert(name, Arc::new(state));
            }
        }
        self.recover_segments(&by_number)?;
        self.recover_positions(&by_number)
    }

    fn recover_segments(&self, partitions: &BTreeMap<(u32, u32), Arc<Partition>>) -> Result<(), LogError> {
        let names = self.db.list_keyspace_names();
        let mut bases: Vec<(u32, u32, u64)> = names.iter().filter_map(|name| segments::parse_name(name)).collect();
        bases.sort_unstable();
        for (topic, partition, base) in bases {
            let Some(partition) = partitions.get(&(topic, partition)) else {
                continue;
            };
            let doing = || format!("opening partition {} at offset {base}", partition.at);
            let keyspace = segments::open(&self.db, topic, &partition.at, base, self.settings.memtable.get())
                .map_err(|error| self.fatal(&doing(), describe(&error)))?;
            let newest = segments::newest(&keyspace).map_err(|error| self.fatal(&doing(), damaged(&error)))?;
            let mut state = lock(&partition.state);
            let first = state.segments.is_empty();
            let Some((header, bytes)) = newest else {
                // Made for an append that a power cut undid. It stays only if it starts where the others end.
                if first || state.end == base {
                    let (began_at, appended_at) = (stream::Instant::MAX, stream::Instant::MIN);
                    state.segments.push_back(Segment {
                        base,
                        keyspace,
                        bytes: 0,
                        began_at,
                        appended_at,
                    });
                    state.end = base;
                } else {
                    self.db
                        .delete_keyspace(keyspace)
                        .map_err(|error| self.fatal(&doing(), describe(&error)))?;
                }
                continue;
            };
            if !first && state.end != base {
                let cause = format!("the segment before it ends at {}: records are missing", state.end);
                return Err(self.fatal(&doing(), cause));
            }
            let (began_at, appended_at) = (header.segment_began_at, header.appended_at);
            state.segments.push_back(Segment {
                base,
                keyspace,
                bytes,
                began_at,
                appended_at,
            });
            state.end = header.base.0 + u64::from(header.count);
        }
        Ok(())
    }

    fn recover_positions(&self, partitions: &BTreeMap<(u32, u32), Arc<Partition>>) -> Result<(), LogError> {
        for entry in self.positions.iter() {
            let (key, value) = entry.into_inner().map_err(|error| open_error(&self.folder, &error))?;
            let parsed = parse_position(&key, &value);
            let (group, topic, partition, offset) =
                parsed.ok_or_else(|| self.fatal("reading consumer positions", "malformed entry"))?;
            if let Some(partition) = partitions.get(&(topic, partition)) {
                lock(&self.groups.group(&group)).set_positions([(partition.at.clone(), offset)]);
            }
        }
        Ok(())
    }
}

/// Key of a group's position: group, a zero, topic number, partition.
pub fn position_key(group: &str, partition: &Partition) -> Vec<u8> {
    let mut key = group.as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&partition.topic.to_be_bytes());
    key.extend_from_slice(&partition.at.partition.to_be_bytes());
    key
}

fn parse_position(key: &[u8], value: &[u8]) -> Option<(String, u32, u32, Offset)> {
    let (group, numbers) = key.split_at_checked(key.len().checked_sub(9)?)?;
    let topic = u32::from_be_bytes(numbers[1..5].try_into().ok()?);
    let partition = u32::from_be_bytes(numbers[5..9].try_into().ok()?);
    let offset = Offset(u64::from_be_bytes(value.try_into().ok()?));
    Some((String::from_utf8(group.to_vec()).ok()?, topic, partition, offset))
}

fn fresh_partitions(topic: u32, name: &Topic, count: u32) -> Vec<Arc<Partition>> {
    let partition = |number| {
        let at = TopicPartition::new(name.clone(), number);
        Arc::new(Partition {
            topic,
            at,
            state: Mutex::new(PartitionState::empty()),
        })
    };
    (0..count).map(partition).collect()
}

fn open_error(folder: &std::path::Path, error: &fjall::Error) -> LogError {
    let doing = format!("opening the log in {}", folder.display());
    let cause = match error {
        fjall::Error::Locked => format!(
            "another process has {} open: stop it, talk to it through its socket, or name another folder",
            folder.display()
        ),
        fjall::Error::InvalidVersion(_) => {
            "the folder was written by another version: use the program that wrote it".to_owned()
        }
        fjall::Error::JournalRecovery(cause) => {
            format!(
                "the journal (*.jnl) is damaged ({cause:?}): restore the folder from a backup, or start with a new one"
            )
        }
        other => describe(other),
    };
    LogError::Fatal { doing, cause }
}

fn damaged(error: &ReadError) -> String {
    format!("{error}: restore the folder from a backup, or start with a new one")
}

/// The engine's error without its type names.
pub fn describe(error: &fjall::Error) -> String {
    match error {
        fjall::Error::Io(cause) => cause.to_string(),
        fjall::Error::Storage(cause) => format!("storage: {cause}"),
        fjall::Error::Poisoned => "an earlier write failed; restart when its cause is mended".to_owned(),
        other => format!("{other:?}"),
    }
}
