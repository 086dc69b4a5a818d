//! `[normalize]`: how signals are made from what senders say.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::time::micros;

use super::mapper::MapperSettings;

/// Settings of the normalize stage. Changing one that decides identity (`tenant…`, `environment…`) makes other signals
/// of what is sent from then on; what is already in `signals` stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NormalizeSettings {
    /// How far, in seconds, an event time may lie after the receive time and still move the watermark as it is. What lies
    /// further is taken as that late, counted as `aegis_far_future_total`, and keeps its own `event_at`.
    pub max_future_skew_s: u32,
    /// Tenant of signals that name none.
    pub tenant: String,
    /// Label that names the tenant. Empty: none does, every signal belongs to `tenant`. Set it only where senders are trusted
    /// to speak for every tenant.
    pub tenant_label: String,
    /// Environment of signals that name none.
    pub environment: String,
    /// Labels that name the environment; the first one present counts, here and below.
    pub environment_labels: Vec<String>,
    /// Labels that name the service. Never `job`: it names the scrape, not the service.
    pub service_labels: Vec<String>,
    /// Labels that name the cluster.
    pub cluster_labels: Vec<String>,
    /// Labels that name the namespace.
    pub namespace_labels: Vec<String>,
    /// Labels that hold the severity's word.
    pub severity_labels: Vec<String>,
    /// Labels by which a sender declares that alerts belong together.
    pub group_labels: Vec<String>,
    /// Largest signal, in bytes of its labels, annotations, title, description and extra fields. A larger one goes to the
    /// dead letters as `too_large`. A single extra field of more than an eighth of it is left out and only its size
    /// is kept; its bytes stay in `events.raw`.
    pub max_signal_bytes: u32,
    /// How long, in seconds, an alert of Alertmanager's API without `endsAt` fires unless it is sent again. 0: until its end is sent.
    pub resolve_timeout_s: u32,
    /// Rules for JSON of other senders, by name: what comes to `POST /webhooks/json/NAME`, and with `json/NAME` in `aegis-sender`. Those
    /// of the name `grafana` are for custom payloads of Grafana's contact points.
    pub json: BTreeMap<String, MapperSettings>,
}

impl NormalizeSettings {
    /// Every fault of these settings, as key below `[normalize]` (steps with a dot between them) and problem.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for (name, mapper) in &self.json {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                let problem = "a name is 1 to 64 letters, digits, `-` or `_`: it stands in an address".to_owned();
                faults.push((format!("json.{name}"), problem));
            }
            let found = mapper.faults().into_iter();
            faults.extend(found.map(|(key, problem)| (format!("json.{name}.{key}"), problem)));
        }
        faults
    }

    /// The term of an alert that names none, in microseconds.
    pub(super) fn resolve_at(&self, observed_at: i64) -> Option<i64> {
        let span = micros(Duration::from_secs(self.resolve_timeout_s.into()));
        (span > 0).then(|| observed_at.saturating_add(span))
    }
}

impl Default for NormalizeSettings {
    fn default() -> Self {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        NormalizeSettings {
            max_future_skew_s: 300,
            tenant: "default".into(),
            tenant_label: String::new(),
            environment: "default".into(),
            environment_labels: names(&["environment", "env", "deployment_environment"]),
            service_labels: names(&[
                "service",
                "app",
                "app_kubernetes_io_name",
                "app.kubernetes.io/name",
                "service_name",
                "deployment",
            ]),
            cluster_labels: names(&["cluster"]),
            namespace_labels: names(&["namespace", "kubernetes_namespace"]),
            severity_labels: names(&["severity", "priority", "level"]),
            group_labels: names(&["aegis_group"]),
            max_signal_bytes: 262_144,
            resolve_timeout_s: 300,
            json: BTreeMap::new(),
        }
    }
}
