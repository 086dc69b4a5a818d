//! What the writer thread and the readers share: the folder, the catalog, the topics, the groups.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use stream::log::membership::{Groups, lock};
use stream::log::{Retention, Topic};
use stream::{Clock, LogError, LogId, TopicPartition, TopicSpec};
use tokio::sync::Notify;

use super::EmbeddedSettings;
use super::catalog::{Catalog, PartKey, Spot, StoredTopic};
use super::partition::PartitionState;
use super::recovery;
use super::writer::Active;

const CATALOG_FOLDER: &str = "catalog";
/// Below this a partition's cached tail would not hold one usual batch.
const LEAST_CACHE_BYTES: usize = 128 << 10;
/// Places of batches kept in memory for reads from sealed files, 16 bytes each. One part of tiny batches has some
/// hundred thousand; readers of different parts take turns.
const CACHED_SPOTS: usize = 256 << 10;

pub struct Core {
    pub folder: PathBuf,
    pub settings: EmbeddedSettings,
    pub clock: Arc<dyn Clock>,
    pub id: LogId,
    pub catalog: Catalog,
    topics: RwLock<BTreeMap<Topic, Arc<TopicState>>>,
    pub groups: Groups,
    pub changed: Notify,
    /// Held while topics are created.
    creating: Mutex<()>,
    /// Sealed files with their lengths.
    sealed: Mutex<BTreeMap<u64, u64>>,
    spots: Mutex<VecDeque<(PartKey, Arc<Vec<Spot>>)>>,
}

pub struct TopicState {
    /// Names the topic in files and catalog. Never reused.
    pub number: u32,
    pub retention: Retention,
    pub partitions: Vec<Arc<Partition>>,
}

pub struct Partition {
    pub topic: u32,
    pub at: TopicPartition,
    pub state: Mutex<PartitionState>,
}

impl Core {
    /// Opens or creates the folder and checks what was written since the last sealing. Blocks.
    pub fn open(
        folder: PathBuf,
        settings: EmbeddedSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Active), LogError> {
        recovery::check_format(&folder)?;
        let failed = |cause: &dyn ToString| LogError::Fatal {
            doing: format!("opening the log in {}", folder.display()),
            cause: cause.to_string(),
        };
        let catalog = Catalog::open(&folder.join(CATALOG_FOLDER)).map_err(|error| failed(&error))?;
        std::fs::create_dir_all(super::files::folder(&folder)).map_err(|error| failed(&error))?;
        let mut topics = BTreeMap::new();
        for (name, topic) in catalog.topics().map_err(|error| failed(&error))? {
            let retention = Retention {
                time: topic.retention_ms.map(Duration::from_millis),
                bytes: topic.retention_bytes,
            };
            let state = TopicState {
                number: topic.number,
                retention,
                partitions: fresh_partitions(topic.number, &name, topic.partitions),
            };
            topics.insert(name, Arc::new(state));
        }
        let core = Core {
            settings,
            clock,
            id: LogId(catalog.id.clone()),
            catalog,
            topics: RwLock::new(topics),
            groups: Groups::default(),
            changed: Notify::new(),
            creating: Mutex::default(),
            sealed: Mutex::default(),
            spots: Mutex::default(),
            folder,
        };
        let active = recovery::recover(&core)?;
        Ok((core, active))
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
        let mut stored = Vec::new();
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
            stored.push((spec.name.clone(), entry));
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
        let durable = self.catalog.store_topics(&stored);
        durable.map_err(|error| self.fatal("creating topics", error))?;
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

    /// Where the batches of a sealed part lie; `None` when retention took the part. Blocks.
    pub fn spots(&self, key: PartKey) -> Result<Option<Arc<Vec<Spot>>>, LogError> {
        if let Some((_, spots)) = lock(&self.spots).iter().find(|(known, _)| *known == key) {
            return Ok(Some(spots.clone()));
        }
        let stored = self.catalog.spots(key);
        let Some(spots) = stored.map_err(|error| self.fatal("looking up a batch", error))? else {
            return Ok(None);
        };
        let spots = Arc::new(spots);
        let mut cache = lock(&self.spots);
        cache.push_back((key, spots.clone()));
        while cache.len() > 1 && cache.iter().map(|(_, spots)| spots.len()).sum::<usize>() > CACHED_SPOTS {
            cache.pop_front();
        }
        Ok(Some(spots))
    }

    /// Notes sealed files with their lengths.
    pub fn sealed_sizes(&self, files: impl IntoIterator<Item = (u64, u64)>) {
        lock(&self.sealed).extend(files);
    }

    /// Sealed files with their lengths, oldest first.
    pub fn sealed_files(&self) -> Vec<(u64, u64)> {
        lock(&self.sealed)
            .iter()
            .map(|(file, length)| (*file, *length))
            .collect()
    }

    pub fn forget_file(&self, file: u64) {
        lock(&self.sealed).remove(&file);
        lock(&self.spots).retain(|(key, _)| key.file != file);
    }
}

fn fresh_partitions(topic: u32, name: &Topic, count: u32) -> Vec<Arc<Partition>> {
    let partition = |number| {
        let at = TopicPartition::new(name.clone(), number);
        Arc::new(Partition {
            topic,
            at,
            state: Mutex::new(PartitionState::empty(0)),
        })
    };
    (0..count).map(partition).collect()
}
