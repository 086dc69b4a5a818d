//! The configuration; the doc comments here are its reference.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::secret::Secret;

use crate::{EdgeStore, QdrantStore, StoreError, VectorStore};

/// Similar incidents: texts of incidents, alerts and log templates that stood out, as vectors (`[models]` makes them).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VectorsSettings {
    /// Whether to keep them. Without them `aegis similar` has nothing to say.
    pub enabled: bool,
    /// Where they are kept.
    pub kind: VectorsKind,
    /// The Qdrant server's address for gRPC, with `kind = "qdrant"`.
    pub url: String,
    /// The Qdrant server's API key.
    pub api_key: Option<Secret>,
    /// First part of the collections' names. Two installations on one server need two.
    pub prefix: String,
    /// Longest wait for an answer of the store.
    pub timeout: HumanDuration,
}

/// The two stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VectorsKind {
    /// Qdrant's own engine inside this process, in `vectors` of the data folder; one process at a time.
    #[default]
    Embedded,
    /// A Qdrant server; any number of processes.
    Qdrant,
}

impl Default for VectorsSettings {
    fn default() -> Self {
        VectorsSettings {
            enabled: true,
            kind: VectorsKind::Embedded,
            url: "http://127.0.0.1:6334".to_owned(),
            api_key: None,
            prefix: "aegis".to_owned(),
            timeout: HumanDuration::from_secs(10),
        }
    }
}

impl VectorsSettings {
    /// The store they describe. Nothing is opened or connected before it is asked something.
    pub fn open(&self, data_dir: &Path) -> Result<Arc<dyn VectorStore>, StoreError> {
        let timeout = self.timeout.get();
        Ok(match self.kind {
            VectorsKind::Embedded => Arc::new(EdgeStore::new(&data_dir.join("vectors"), timeout)),
            VectorsKind::Qdrant => {
                let key = self.api_key.as_ref().map(Secret::expose);
                Arc::new(QdrantStore::new(&self.url, key, timeout)?)
            }
        })
    }

    /// Every fault of these settings, by key, each with its remedy.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, problem: &str| faults.push((key.to_owned(), problem.to_owned()));
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if self.prefix.is_empty() || self.prefix.len() > 60 || !self.prefix.bytes().all(plain) {
            fault("prefix", "write 1 to 60 of a-z, A-Z, 0-9, - and _");
        }
        if self.timeout.get().is_zero() {
            fault("timeout", "it must be longer than nothing");
        }
        if self.enabled && self.kind == VectorsKind::Qdrant {
            match self.url.split_once("://") {
                Some(("https", host)) if !host.is_empty() => {}
                Some(("http", host)) if !host.is_empty() => {
                    if self.api_key.is_some() && !is_loopback(host) {
                        fault("url", "the API key would cross the network unprotected: write https://");
                    }
                }
                _ => fault(
                    "url",
                    "write the address for gRPC, for example \"http://127.0.0.1:6334\"",
                ),
            }
        }
        faults
    }
}

/// Whether `HOST:PORT/…` is this machine.
fn is_loopback(host: &str) -> bool {
    let host = host.split('/').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_keys() {
        let check = |settings: VectorsSettings, keys: &[&str]| {
            let found: Vec<String> = settings.faults().into_iter().map(|(key, _)| key).collect();
            assert_eq!(found, keys, "{settings:?}");
        };
        let qdrant = |url: &str, key: Option<&str>| VectorsSettings {
            kind: VectorsKind::Qdrant,
            url: url.into(),
            api_key: key.map(Secret::from),
            ..VectorsSettings::default()
        };
        check(VectorsSettings::default(), &[]);
        check(qdrant("http://127.0.0.1:6334", Some("k")), &[]);
        check(qdrant("http://localhost:6334", Some("k")), &[]);
        check(qdrant("http://[::1]:6334", Some("k")), &[]);
        check(qdrant("https://qdrant.example:6334", Some("k")), &[]);
        check(qdrant("http://qdrant.example:6334", None), &[]);
        check(qdrant("http://qdrant.example:6334", Some("k")), &["url"]);
        check(qdrant("qdrant:6334", None), &["url"]);
        let prefix = VectorsSettings {
            prefix: "a/b".into(),
            timeout: HumanDuration::from_secs(0),
            ..VectorsSettings::default()
        };
        check(prefix, &["prefix", "timeout"]);
        assert!(!format!("{:?}", qdrant("http://h:1", Some("hunter2"))).contains("hunter2"));
    }
}
