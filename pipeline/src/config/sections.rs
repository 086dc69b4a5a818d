//! The tables of `aegis.toml` that belong to no component: where data lies, which log, topics, event time, readiness
//! and logging. Doc comments are the reference (`docs/config.md` is made of them).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use gateway::ReadinessBounds;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sources::embedded::EmbeddedSettings;
use sources::kafka::KafkaSettings;
use sources::kubernetes::KubernetesWatchSettings;
use stream::human::{HumanDuration, HumanSize, ParseError};
use stream::progress::IngressPolicy;
use stream::snapshot::{ChainBound, FolderSnapshots, MAX_DELTAS};

/// Where Aegis keeps what it writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataSettings {
    /// Folder of the embedded log, the SQLite tables, the archive, the snapshots and the control socket; created when
    /// missing. A relative path counts from where aegis is started. The option `--data-dir` comes before it.
    pub dir: PathBuf,
    /// How often the state of the operators is saved. Longer: a restart replays more. Shorter: more is written.
    pub snapshot_every: HumanDuration,
}

impl Default for DataSettings {
    fn default() -> Self {
        DataSettings {
            dir: PathBuf::from("./aegis-data"),
            snapshot_every: HumanDuration::from_secs(60),
        }
    }
}

/// Snapshots: the operators' state, saved so that a restart need not read the whole log. How often is `data.snapshot_every`.
///
/// A snapshot is a base and deltas upon it: a delta holds what changed. A new base is written when the deltas reach
/// `max_deltas`, or together the size of their base. `aegis upgrade --check` tells whether another program or other settings can
/// take the state over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotSettings {
    /// Where snapshots lie: `file:///absolute/folder`. Empty: `snapshots` in the data folder. Several processes on Kafka need a
    /// folder that all of them see.
    pub url: String,
    /// Deltas upon one base. More: less is written while a large state changes little; a restore opens more files, and the
    /// log is kept longer, because records may go only when two snapshots that share nothing lie behind them.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_deltas: u32,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        SnapshotSettings {
            url: String::new(),
            max_deltas: MAX_DELTAS,
        }
    }
}

impl SnapshotSettings {
    /// The store they describe, with the default in `data_dir`.
    pub fn open(&self, data_dir: &Path) -> FolderSnapshots {
        self.open_generation(data_dir, 0)
    }

    /// That of one generation of topics.
    pub fn open_generation(&self, data_dir: &Path, generation: u32) -> FolderSnapshots {
        let mut folder = self.folder().unwrap_or_else(|| data_dir.join("snapshots"));
        if generation > 0 {
            folder.push(format!("g{generation}"));
        }
        FolderSnapshots::new(folder).with_chain_bound(ChainBound {
            max_deltas: self.max_deltas,
        })
    }

    /// The folder that `url` names.
    pub fn folder(&self) -> Option<PathBuf> {
        self.url.strip_prefix("file://").map(PathBuf::from)
    }
}

/// The log that everything flows through.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// Which log to use.
    pub kind: LogKind,
    /// The embedded log, with `kind = "embedded"`.
    pub embedded: EmbeddedSettings,
    /// Apache Kafka, with `kind = "kafka"`.
    pub kafka: KafkaSettings,
}

/// The two logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogKind {
    /// A log of our own in the data folder; one process at a time.
    #[default]
    Embedded,
    /// Apache Kafka; any number of processes.
    Kafka,
}

/// Partitions and retention of the topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicsSettings {
    /// Partitions of every topic: how many cores (or processes, with Kafka) one stage can use. Written down in the log when
    /// the topics are created; afterwards `aegis repartition` alone can change it, and a start with another number is refused.
    /// On Kafka `events.raw` may get more partitions at any time; they are found within seconds.
    #[schemars(range(min = 1, max = 1024))]
    pub partitions: u32,
    /// How long records are kept, or `"forever"`. The topics `incidents`, `remediations` and `ledger` are kept forever
    /// unless `each` says otherwise, because the tables are rebuilt from them; `logs` and `lines` for a day at most, because
    /// they are large and the archive has the lines.
    pub retention: Keep,
    /// Most bytes kept per partition; without it there is no such limit.
    pub retention_bytes: Option<HumanSize>,
    /// Another retention for single topics, by name: `[topics.each."events.raw"]`.
    pub each: BTreeMap<String, TopicSettings>,
}

/// Retention of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopicSettings {
    /// How long records are kept, or `"forever"`.
    pub retention: Keep,
    /// Most bytes kept per partition; without it there is no such limit.
    pub retention_bytes: Option<HumanSize>,
}

impl Default for TopicsSettings {
    fn default() -> Self {
        TopicsSettings {
            partitions: 4,
            retention: Keep::For(Duration::from_secs(7 * 86_400)),
            retention_bytes: None,
            each: BTreeMap::new(),
        }
    }
}

/// How long to keep something: a duration, or `"forever"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Forever,
    For(Duration),
}

impl Keep {
    /// `None` is "without limit".
    pub fn limit(self) -> Option<Duration> {
        match self {
            Keep::Forever => None,
            Keep::For(time) => Some(time),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Forever => f.write_str("forever"),
            Keep::For(time) => HumanDuration(*time).fmt(f),
        }
    }
}

impl FromStr for Keep {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.trim() == "forever" {
            return Ok(Keep::Forever);
        }
        let time: HumanDuration = text.parse().map_err(|e| ParseError {
            example: "\"7d\" or \"forever\"",
            ..e
        })?;
        Ok(Keep::For(time.get()))
    }
}

impl Serialize for Keep {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Keep {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(input)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Keep {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Keep".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration", "examples": ["7d", "forever"] })
    }
}

/// What is fetched, where others send to the dispatcher.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourcesSettings {
    pub kubernetes: KubernetesWatchSettings,
}

/// Event time: when a sender counts as late or silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProgressSettings {
    /// How long after it happened an event may be received and still be on time. A sender that lags by more, or is silent,
    /// stalls nobody: its events are late.
    pub lateness: HumanDuration,
    /// After this silence a sender holds nobody up.
    pub idle_after: HumanDuration,
    /// Senders that are remembered; beyond it the longest silent one is forgotten.
    #[schemars(range(min = 1))]
    pub max_senders: u32,
}

impl Default for ProgressSettings {
    fn default() -> Self {
        let policy = IngressPolicy::default();
        ProgressSettings {
            lateness: policy.lateness.into(),
            idle_after: policy.idle_after.into(),
            max_senders: u32::try_from(policy.max_senders).unwrap_or(u32::MAX),
        }
    }
}

/// When `/readyz` says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReadinessSettings {
    /// Records that a partition of a stage may be behind the end of its log.
    pub max_lag: u64,
    /// How long a partition that is behind may go without a commit.
    pub max_commit_age: HumanDuration,
}

impl Default for ReadinessSettings {
    fn default() -> Self {
        let bounds = ReadinessBounds::default();
        ReadinessSettings {
            max_lag: bounds.max_lag,
            max_commit_age: bounds.max_commit_age.into(),
        }
    }
}

impl ReadinessSettings {
    /// As the gateway takes them.
    pub fn bounds(&self) -> ReadinessBounds {
        ReadinessBounds {
            max_lag: self.max_lag,
            max_commit_age: self.max_commit_age.get(),
            ..ReadinessBounds::default()
        }
    }
}

/// What the process says about itself, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingSettings {
    /// Level, or levels per module: `info`, or `info,sources=debug`. `RUST_LOG` comes before it, and `-v` before both.
    pub filter: String,
    /// Form of the lines.
    pub format: LogFormat,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text for people.
    Pretty,
    /// One JSON object per line.
    Json,
}

impl Default for LoggingSettings {
    fn default() -> Self {
        LoggingSettings {
            filter: "info,fjall=warn,lsm_tree=warn".to_owned(),
            format: LogFormat::Auto,
        }
    }
}
