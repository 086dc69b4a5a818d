//! How to reach a Kafka cluster, and the librdkafka configuration that follows from it.
//!
//! Extra librdkafka properties are passed on, except those that would break a promise of the log (see [`REFUSED`]).

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::portion::LINGER_MS;

/// The smallest size by which a batch on the wire is larger than the record in it (framing, one header more).
const FRAMING_BYTES: usize = 64 << 10;

const METADATA_REFRESH: &str = "topic.metadata.refresh.interval.ms";
const METADATA_REFRESH_MS: &str = "5000";

/// Connection and client settings of a Kafka log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSettings {
    /// Brokers to ask first, each `host:port`.
    pub bootstrap_servers: Vec<String>,
    /// First part of the client ids that brokers log; the role follows.
    pub client_id: String,
    /// Stands before the name of every topic and group, so that several installations can share a cluster.
    pub topic_prefix: String,
    /// How connections are protected.
    pub security_protocol: SecurityProtocol,
    /// How to authenticate, with the `sasl_*` protocols.
    pub sasl_mechanism: Option<SaslMechanism>,
    /// User name for SASL.
    pub username: Option<String>,
    /// Password for SASL. Never printed.
    pub password: Option<Secret>,
    /// PEM file with the authorities to trust, instead of the system's.
    pub ssl_ca: Option<PathBuf>,
    /// PEM file with the client's certificate (mutual TLS).
    pub ssl_certificate: Option<PathBuf>,
    /// PEM file with the client's key (mutual TLS).
    pub ssl_key: Option<PathBuf>,
    /// Replication factor of topics that are created here.
    pub replication_factor: u16,
    /// Largest record (key, value and headers), in bytes. Topics created here allow it.
    pub max_record_bytes: usize,
    /// How long opening may take, in milliseconds, before the cluster counts as unreachable.
    pub connect_timeout_ms: u64,
    /// How long an append may wait for its acknowledgement, in milliseconds.
    pub append_timeout_ms: u64,
    /// How long a transaction may stay open, in milliseconds. After a crash readers wait this long at most for the
    /// transaction that the crash left open.
    pub transaction_timeout_ms: u64,
    /// How long a group waits for a silent member, in milliseconds. A member must answer a revocation in half of it.
    pub session_timeout_ms: u64,
    /// Further librdkafka properties, passed on to every client (for example `compression.type`).
    pub properties: BTreeMap<String, String>,
}

/// How connections are protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// User and password over a plain connection.
    SaslPlaintext,
    /// User and password over TLS.
    SaslSsl,
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaslMechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// Settings that cannot work, in words for their author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kafka.{field}: {problem}")]
pub struct SettingsError {
    pub field: String,
    pub problem: String,
}

/// Properties that may not be given, and why.
pub const REFUSED: &[(&str, &str)] = &[
    ("acks", "an append is acknowledged by all in-sync replicas"),
    (
        "request.required.acks",
        "an append is acknowledged by all in-sync replicas",
    ),
    (
        "allow.auto.create.topics",
        "topics are created with their configured partition count",
    ),
    ("auto.commit.enable", "positions move only together with outputs"),
    ("auto.offset.reset", "a position that is gone must be reported"),
    ("bootstrap.servers", "set kafka.bootstrap_servers"),
    ("client.id", "set kafka.client_id"),
    ("enable.auto.commit", "positions move only together with outputs"),
    ("enable.auto.offset.store", "positions move only together with outputs"),
    ("enable.idempotence", "retries must not duplicate records"),
    ("enable.partition.eof", "the end of a partition must be known exactly"),
    ("group.id", "each stage has its own group"),
    ("group.instance.id", "members are told apart by their own ids"),
    (
        "group.protocol",
        "the hand-over of partitions relies on the classic protocol",
    ),
    ("isolation.level", "only committed records may be read"),
    ("max.in.flight", "more than five requests in flight would reorder"),
    (
        "max.in.flight.requests.per.connection",
        "more than five requests in flight would reorder",
    ),
    ("metadata.broker.list", "set kafka.bootstrap_servers"),
    (
        "partition.assignment.strategy",
        "partitions are handed over cooperatively",
    ),
    ("partitioner", "records name their partition"),
    ("sasl.mechanism", "set kafka.sasl_mechanism"),
    ("sasl.mechanisms", "set kafka.sasl_mechanism"),
    ("sasl.password", "set kafka.password"),
    ("sasl.username", "set kafka.username"),
    ("security.protocol", "set kafka.security_protocol"),
    ("session.timeout.ms", "set kafka.session_timeout_ms"),
    ("transaction.timeout.ms", "set kafka.transaction_timeout_ms"),
    ("transactional.id", "each member has its own"),
];

impl Default for KafkaSettings {
    fn default() -> Self {
        KafkaSettings {
            bootstrap_servers: vec!["127.0.0.1:9092".to_owned()],
            client_id: "aegis".to_owned(),
            topic_prefix: String::new(),
            security_protocol: SecurityProtocol::default(),
            sasl_mechanism: None,
            username: None,
            password: None,
            ssl_ca: None,
            ssl_certificate: None,
            ssl_key: None,
            replication_factor: 1,
            max_record_bytes: 4 << 20,
            connect_timeout_ms: 10_000,
            append_timeout_ms: 30_000,
            // Kafka Streams uses 10 s with the same protocol; more lengthens the stall after a crash, less aborts
            // commits on a slow broker.
            transaction_timeout_ms: 15_000,
            session_timeout_ms: 15_000,
            properties: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Property values may be secrets too (`ssl.key.password`), so only their names are shown.
        f.debug_struct("KafkaSettings")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("client_id", &self.client_id)
            .field("security_protocol", &self.security_protocol)
            .field("sasl_mechanism", &self.sasl_mechanism)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("ssl_ca", &self.ssl_ca)
            .field("replication_factor", &self.replication_factor)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl SecurityProtocol {
    fn uses_sasl(self) -> bool {
        matches!(self, SecurityProtocol::SaslPlaintext | SecurityProtocol::SaslSsl)
    }

    fn uses_tls(self) -> bool {
        matches!(self, SecurityProtocol::Ssl | SecurityProtocol::SaslSsl)
    }

    fn property(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "plaintext",
            SecurityProtocol::Ssl => "ssl",
            SecurityProtocol::SaslPlaintext => "sasl_plaintext",
            SecurityProtocol::SaslSsl => "sasl_ssl",
        }
    }
}

impl SaslMechanism {
    fn property(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl KafkaSettings {
    /// What can be seen to be wrong without a broker.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let wrong = |field: &str, problem: String| {
            Err(SettingsError {
                field: field.to_owned(),
                problem,
            })
        };
        if self.bootstrap_servers.is_empty() || self.bootstrap_servers.iter().any(|server| server.trim().is_empty()) {
            return wrong("bootstrap_servers", "name at least one broker as host:port".to_owned());
        }
        let nameable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.topic_prefix.len() > 200 || !self.topic_prefix.chars().all(nameable) {
            let problem = "at most 200 letters, digits, '.', '_' and '-': Kafka allows no others in a topic's name";
            return wrong("topic_prefix", problem.to_owned());
        }
        if self.security_protocol.uses_sasl() {
            let Some(mechanism) = self.sasl_mechanism else {
                return wrong("sasl_mechanism", "needed with sasl_plaintext and sasl_ssl".to_owned());
            };
            if self.username.is_none() || self.password.is_none() {
                return wrong(
                    "username",
                    format!("{} needs username and password", mechanism.property()),
                );
            }
        } else if self.sasl_mechanism.is_some() {
            let protocol = self.security_protocol.property();
            return wrong(
                "sasl_mechanism",
                format!("{protocol} does not authenticate: use sasl_plaintext or sasl_ssl"),
            );
        }
        let needs_openssl = self.security_protocol.uses_tls()
            || matches!(
                self.sasl_mechanism,
                Some(SaslMechanism::ScramSha256 | SaslMechanism::ScramSha512)
            );
        if needs_openssl && !cfg!(feature = "kafka-tls") {
            return wrong(
                "security_protocol",
                "TLS and SCRAM need a build with the feature kafka-tls".to_owned(),
            );
        }
        if self.ssl_certificate.is_some() != self.ssl_key.is_some() {
            return wrong(
                "ssl_certificate",
                "ssl_certificate and ssl_key belong together".to_owned(),
            );
        }
        if self.replication_factor == 0 {
            return wrong("replication_factor", "must be at least 1".to_owned());
        }
        if !(1_024..=512 << 20).contains(&self.max_record_bytes) {
            return wrong("max_record_bytes", "must be between 1024 bytes and 512 MiB".to_owned());
        }
        for (field, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("append_timeout_ms", self.append_timeout_ms),
            ("transaction_timeout_ms", self.transaction_timeout_ms),
            ("session_timeout_ms", self.session_timeout_ms),
        ] {
            if !(1_000..=900_000).contains(&value) {
                return wrong(field, format!("{value} ms is not between one second and 15 minutes"));
            }
        }
        for name in self.properties.keys() {
            if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| refused == name) {
                return wrong("properties", format!("{name} cannot be set: {reason}"));
            }
        }
        Ok(())
    }

    pub(super) fn servers(&self) -> String {
        self.bootstrap_servers.join(",")
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn append_timeout(&self) -> Duration {
        Duration::from_millis(self.append_timeout_ms)
    }

    pub(super) fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(self.transaction_timeout_ms)
    }

    pub(super) fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.session_timeout_ms)
    }

    /// The topic's `max.message.bytes` that lets the largest record in.
    pub(super) fn max_batch_bytes(&self) -> usize {
        self.max_record_bytes + FRAMING_BYTES
    }

    /// What every client needs. `role` tells the clients apart in the brokers' logs.
    pub(super) fn client_config(&self, role: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", self.servers())
            .set("client.id", format!("{}.{role}", self.client_id))
            .set("security.protocol", self.security_protocol.property())
            .set("message.max.bytes", self.max_batch_bytes().to_string());
        if let (Some(mechanism), Some(user), Some(password)) = (self.sasl_mechanism, &self.username, &self.password) {
            config
                .set("sasl.mechanisms", mechanism.property())
                .set("sasl.username", user)
                .set("sasl.password", password.expose());
        }
        let files = [
            ("ssl.ca.location", &self.ssl_ca),
            ("ssl.certificate.location", &self.ssl_certificate),
            ("ssl.key.location", &self.ssl_key),
        ];
        for (name, path) in files {
            if let Some(path) = path {
                config.set(name, path.to_string_lossy());
            }
        }
        // How soon partitions that are added to a topic are found. The client's default, five minutes, is as long as a row of
        // the product may be under way without being late; each look is one small request.
        if !self.properties.contains_key(METADATA_REFRESH) {
            config.set(METADATA_REFRESH, METADATA_REFRESH_MS);
        }
        config
    }

    /// A consumer that sees committed records only, commits nothing by itself and reports ends and lost positions.
    pub(super) fn consumer_config(&self, role: &str) -> ClientConfig {
        let mut config = self.client_config(role);
        // Small: the defaults prefetch 64 MiB per partition.
        for (name, value) in [
            ("queued.max.messages.kbytes", "2048"),
            ("fetch.message.max.bytes", "1048576"),
        ] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        // How soon a record is seen that arrives just after a fetch found nothing or failed; and how soon fetching goes on
        // after the small queue above was full. With the client's default for that, a second, a million alerts (1 GB in
        // two partitions) took 86 s, with this 24 s.
        for (name, value) in [
            ("fetch.wait.max.ms", "100"),
            ("fetch.error.backoff.ms", "100"),
            ("fetch.queue.backoff.ms", "5"),
        ] {
            if !self.properties.contains_key(name) {
                config.set(name, value);
            }
        }
        config
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false");
        config
    }

    /// An idempotent producer that waits for all in-sync replicas.
    pub(super) fn producer_config(&self, role: &str) -> ClientConfig {
        let mut config = self.client_config(role);
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("linger.ms", LINGER_MS)
            .set("queue.buffering.max.messages", "1000000")
            .set("topic.metadata.propagation.max.ms", "10000");
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut KafkaSettings), expected: Result<(), &str>) {
        let mut settings = KafkaSettings::default();
        change(&mut settings);
        let found = settings.validate().map_err(|error| error.field);
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    fn property(name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), "x".to_owned())])
    }

    #[test]
    fn settings_that_cannot_work_name_their_field() {
        check(|_| {}, Ok(()));
        check(|s| s.bootstrap_servers.clear(), Err("bootstrap_servers"));
        check(|s| s.bootstrap_servers = vec![" ".to_owned()], Err("bootstrap_servers"));
        check(
            |s| s.security_protocol = SecurityProtocol::SaslPlaintext,
            Err("sasl_mechanism"),
        );
        check(|s| s.sasl_mechanism = Some(SaslMechanism::Plain), Err("sasl_mechanism"));
        check(
            |s| {
                s.security_protocol = SecurityProtocol::SaslPlaintext;
                s.sasl_mechanism = Some(SaslMechanism::Plain);
                s.username = Some("u".to_owned());
            },
            Err("username"),
        );
        check(|s| s.ssl_key = Some("key.pem".into()), Err("ssl_certificate"));
        check(|s| s.replication_factor = 0, Err("replication_factor"));
        check(|s| s.max_record_bytes = 10, Err("max_record_bytes"));
        check(|s| s.session_timeout_ms = 10, Err("session_timeout_ms"));
        check(|s| s.transaction_timeout_ms = 0, Err("transaction_timeout_ms"));
    }

    #[test]
    fn properties_that_would_break_a_promise_are_refused() {
        check(|s| s.properties = property("compression.type"), Ok(()));
        for name in [
            "enable.idempotence",
            "isolation.level",
            "enable.auto.commit",
            "partition.assignment.strategy",
        ] {
            check(|s| s.properties = property(name), Err("properties"));
        }
        for (name, _) in REFUSED {
            check(|s| s.properties = property(name), Err("properties"));
        }
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let settings = KafkaSettings {
            password: Some("hunter2".into()),
            properties: BTreeMap::from([("ssl.key.password".to_owned(), "hunter2".to_owned())]),
            ..KafkaSettings::default()
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
        let written = serde_json::to_value(&settings).unwrap();
        assert_eq!(written["password"], "[secret]");
    }

    #[test]
    fn settings_are_read_by_their_usual_names() {
        let text = r#"{"bootstrap_servers":["k:9093"],"security_protocol":"sasl_ssl","sasl_mechanism":"SCRAM-SHA-512",
            "username":"u","password":"p","ssl_ca":"/ca.pem"}"#;
        let settings: KafkaSettings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.validate(), Ok(()));
        let config = settings.client_config("test");
        assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(config.get("sasl.mechanisms"), Some("SCRAM-SHA-512"));
        assert_eq!(config.get("ssl.ca.location"), Some("/ca.pem"));
        assert_eq!(config.get("client.id"), Some("aegis.test"));
        assert!(serde_json::from_str::<KafkaSettings>(r#"{"passwort":"p"}"#).is_err());
    }
}
