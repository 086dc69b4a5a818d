//! The configuration: one file `aegis.toml`, composed of the settings that stand beside each component's code.
//!
//! Without a file everything has a default: the embedded log and SQLite in `./aegis-data`. Environment variables come
//! before the file ([`overrides`]), command line options before both. [`load`] reports every fault at once, each with its
//! place, and never prints a secret. Only this crate reads the environment.
//!
//! A new component adds one field to [`Config`]; its keys, overrides, reference and example follow from its struct.

mod checks;
mod docs;
mod example;
mod fault;
pub mod overrides;
pub(crate) mod own_secret;
mod policy;
mod sections;
mod shape;
mod signing;
mod tree;
mod typed;
mod walk;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agents::AgentSettings;
use agents::compliance::ComplianceSettings;
use dashboard::DashboardSettings;
use embedding::ModelsSettings;
use gateway::GatewaySettings;
use live::LiveSettings;
use mcp::McpSettings;
use model::{Signer, topics};
use operators::correlate::CorrelateSettings;
use operators::crew::CrewSettings;
use operators::dedupe::DedupeSettings;
use operators::gate::GateSettings;
use operators::normalize::NormalizeSettings;
use operators::templates::TemplatesSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::SharedSettings;
use sinks::{ArchiveSettings, NotifySettings, SqlSettings};
use sources::embedded::EmbeddedLog;
use sources::kafka::KafkaLog;
use sources::webhook::WebhookSettings;
use stream::log::{Log, LogError, Retention};
use stream::progress::IngressPolicy;
use stream::secret::Secret;
use telemetry::TelemetrySettings;
use tools::ToolsSettings;
use vectors::VectorsSettings;
use wire::SqlServerSettings;

pub use docs::reference;
pub use example::example;
pub use fault::{Fault, Place, Warning};
pub use policy::PolicySettings;
pub use sections::{
    DataSettings, Keep, LogFormat, LogKind, LogSettings, LoggingSettings, ProgressSettings, ReadinessSettings,
    SnapshotSettings, SourcesSettings, TopicSettings, TopicsSettings,
};
pub use signing::SigningSettings;

use crate::gaps::GapSettings;
use crate::heartbeat::HeartbeatSettings;
use shape::{Shape, schema_of};
use tree::{Node, Origin, SourceFile};
use walk::Walk;

/// The file that is read when nobody names one and it exists.
pub const DEFAULT_FILE: &str = "aegis.toml";

/// How long `logs` and `lines` are kept unless their settings say otherwise.
const LINES_KEPT: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Everything that can be set. Each table is described beside the code that it sets.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub data: DataSettings,
    pub snapshots: SnapshotSettings,
    pub log: LogSettings,
    pub topics: TopicsSettings,
    pub dispatcher: WebhookSettings,
    pub sources: SourcesSettings,
    pub gaps: GapSettings,
    pub progress: ProgressSettings,
    pub normalize: NormalizeSettings,
    pub templates: TemplatesSettings,
    pub dedupe: DedupeSettings,
    pub correlate: CorrelateSettings,
    pub crew: CrewSettings,
    pub agents: AgentSettings,
    pub compliance: ComplianceSettings,
    pub tools: ToolsSettings,
    pub policy: PolicySettings,
    pub gate: GateSettings,
    pub signing: SigningSettings,
    pub store: SqlSettings,
    pub archive: ArchiveSettings,
    pub vectors: VectorsSettings,
    pub models: ModelsSettings,
    pub notify: NotifySettings,
    pub heartbeat: HeartbeatSettings,
    pub gateway: GatewaySettings,
    pub dashboard: DashboardSettings,
    pub live: LiveSettings,
    pub shared: SharedSettings,
    pub sql: SqlServerSettings,
    pub mcp: McpSettings,
    pub readiness: ReadinessSettings,
    pub logging: LoggingSettings,
    pub telemetry: TelemetrySettings,
}

/// Where to read from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The file that was asked for; it must exist. `None`: `AEGIS_CONFIG`, else `aegis.toml` if there is one.
    pub file: Option<PathBuf>,
    pub environment: BTreeMap<String, String>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

impl Inputs {
    /// The process's own environment.
    pub fn from_process() -> Self {
        let text = |raw: std::ffi::OsString| raw.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        Inputs {
            environment,
            ..Inputs::default()
        }
    }

    /// The file that will be read, if any.
    pub fn path(&self) -> Option<PathBuf> {
        let named = self
            .environment
            .get(overrides::CONFIG_VARIABLE)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let usual = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        self.file.clone().or(named).or_else(usual)
    }
}

/// Reads the configuration in `path` (or the usual place) under `environment`.
pub fn load(path: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
    load_from(&Inputs {
        file: path.map(Path::to_owned),
        environment: environment.clone(),
        data_dir: None,
    })
}

/// Reads the configuration. Faults come in the order of the file, then the environment, then the defaults.
pub fn load_from(inputs: &Inputs) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
    let file = read_file(inputs.path()).map_err(|fault| vec![fault])?;
    let mut tree = file.parse().map_err(|fault| vec![fault])?;
    let schema = schema_of::<Config>();
    let known = leaf_paths(&schema);

    let mut faults = overrides::lay_over(&mut tree, &inputs.environment, &schema, &known);
    if let Some(dir) = &inputs.data_dir {
        let node = Node::text(&dir.to_string_lossy(), Origin::Option("--data-dir".to_owned()));
        tree.set(&["data".to_owned(), "dir".to_owned()], node);
    }

    let mut walk = Walk {
        file: &file,
        environment: &inputs.environment,
        known: &known,
        faults: Vec::new(),
        warnings: Vec::new(),
    };
    let json = walk.read("", &tree, &schema).unwrap_or_default();
    let Walk {
        faults: found,
        mut warnings,
        ..
    } = walk;
    faults.extend(found);

    let place_of = |path: &[&str]| {
        tree.written_at(path)
            .map_or(Place::Default, |origin| file.place(origin))
    };
    match typed::read::<Config>(json, &schema) {
        Ok((config, refused)) => {
            faults.extend(refused.into_iter().map(|refused| {
                let path: Vec<&str> = refused.path.iter().map(String::as_str).collect();
                Fault {
                    place: place_of(&path),
                    key: refused.key(),
                    problem: refused.problem,
                    help: None,
                }
            }));
            let mut checks = checks::Checks::new(&config, &place_of);
            checks.run();
            faults.extend(checks.faults);
            warnings.extend(checks.warnings);
            faults.sort();
            faults.dedup();
            warnings.sort();
            if faults.is_empty() {
                Ok((config, warnings))
            } else {
                Err(faults)
            }
        }
        Err(problem) => {
            faults.push(Fault {
                place: place_of(&[]),
                key: String::new(),
                problem,
                help: None,
            });
            faults.sort();
            Err(faults)
        }
    }
}

impl Config {
    /// The folder of everything that is kept.
    pub fn data_dir(&self) -> PathBuf {
        self.data.dir.clone()
    }

    /// Opens the log that is asked for. The embedded one lies in `log` of the data folder.
    pub async fn open_log(&self) -> Result<Arc<dyn Log>, LogError> {
        Ok(match self.log.kind {
            LogKind::Embedded => {
                Arc::new(EmbeddedLog::open(self.data.dir.join("log"), self.log.embedded.clone()).await?)
            }
            LogKind::Kafka => Arc::new(KafkaLog::open(self.log.kafka.clone()).await?),
        })
    }

    /// Signs and knows what crew, gate, workers and people write.
    pub fn signer(&self) -> anyhow::Result<Signer> {
        self.signing.signer(self)
    }

    /// Where the tables are: SQLite in the data folder unless something else is asked for.
    pub fn store_url(&self) -> String {
        self.store.url_in(&self.data.dir)
    }

    pub fn archive_dir(&self) -> PathBuf {
        self.archive.path_in(&self.data.dir)
    }

    /// Bytes of bodies that may wait for their place in the log.
    pub fn ingress_limit(&self) -> usize {
        self.dispatcher.max_buffered_bytes
    }

    /// A token that opens the endpoint for Alertmanager, where one is needed.
    pub fn dispatcher_token(&self) -> Option<&Secret> {
        self.dispatcher.alertmanager.tokens.first()
    }

    /// Every address that is listened on, with the key that sets it. The only list of them.
    pub fn listeners(&self) -> Vec<(&'static str, SocketAddr)> {
        let mut listeners = vec![
            ("dispatcher.listen", self.dispatcher.listen),
            ("gateway.listen", self.gateway.listen),
        ];
        let grpc = self.dispatcher.otlp_grpc_listen;
        listeners.extend(grpc.map(|address| ("dispatcher.otlp_grpc_listen", address)));
        listeners.extend(
            self.dashboard
                .enabled
                .then_some(("dashboard.listen", self.dashboard.listen)),
        );
        listeners.extend(self.sql.enabled.then_some(("sql.listen", self.sql.listen)));
        listeners.extend(self.mcp.enabled.then_some(("mcp.listen", self.mcp.listen)));
        listeners
    }

    /// Partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.topics.partitions
    }

    /// A record must outlive the time for which it may still be on time, and two snapshots after it.
    pub fn least_retention(&self) -> std::time::Duration {
        let late = self
            .progress
            .lateness
            .get()
            .saturating_add(self.progress.idle_after.get());
        late.saturating_add(self.data.snapshot_every.get().saturating_mul(2))
    }

    /// How long `topic` keeps its records.
    pub fn retention(&self, topic: &str) -> Retention {
        match (self.topics.each.get(topic), topic) {
            (Some(own), _) => Retention {
                time: own.retention.limit(),
                bytes: own.retention_bytes.map(|size| size.get()),
            },
            // What evidence is made of.
            (None, topics::INCIDENTS | topics::REMEDIATIONS | topics::LEDGER | topics::COMPLIANCE) => {
                Retention::default()
            }
            // Lines are many, and the archive has them.
            (None, topics::LOGS | topics::LINES) => Retention {
                time: self
                    .topics
                    .retention
                    .limit()
                    .map(|kept| kept.min(LINES_KEPT.max(self.least_retention()))),
                bytes: self.topics.retention_bytes.map(|size| size.get()),
            },
            (None, _) => Retention {
                time: self.topics.retention.limit(),
                bytes: self.topics.retention_bytes.map(|size| size.get()),
            },
        }
    }

    /// How the ingress stage turns what its senders say into a watermark.
    pub fn ingress_policy(&self) -> IngressPolicy {
        IngressPolicy {
            lateness: self.progress.lateness.get(),
            idle_after: self.progress.idle_after.get(),
            max_senders: self.progress.max_senders as usize,
            ..IngressPolicy::default()
        }
    }
}

fn read_file(path: Option<PathBuf>) -> Result<SourceFile, Fault> {
    let Some(path) = path else {
        return Ok(SourceFile::default());
    };
    let shown = tree::shown(&path);
    let fault = |problem: String, help: &str| Fault {
        place: Place::File {
            path: shown.clone(),
            line: 1,
            column: 1,
        },
        key: String::new(),
        problem,
        help: Some(help.to_owned()),
    };
    match std::fs::read(&path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(SourceFile { path: shown, text }),
            Err(e) => Err(fault(
                format!("not UTF-8 at byte {}", e.utf8_error().valid_up_to()),
                "save it as UTF-8",
            )),
        },
        Err(e) => Err(fault(
            format!("cannot read the file: {e}"),
            "`aegis config example` prints one to start from",
        )),
    }
}

/// The path of every single setting.
fn leaf_paths(schema: &serde_json::Value) -> Vec<String> {
    fn collect(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
        match Shape::of(schema) {
            Shape::Table { keys, .. } => {
                keys.iter()
                    .for_each(|(name, inner)| collect(&walk::join(path, name), inner, found));
            }
            _ => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    collect("", schema, &mut found);
    found
}
