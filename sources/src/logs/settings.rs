//! `[dispatcher.logs]`: bounds on what senders of log lines bring, and which labels say whose lines they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Log lines that come over `/v1/logs` (OTLP) and `/loki/api/v1/push`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogIntakeSettings {
    /// Most lines of one request. More is answered with 413.
    #[schemars(range(min = 1))]
    pub max_lines: usize,
    /// Most different sets of labels (streams, resources) of one request. More is answered with 413.
    #[schemars(range(min = 1))]
    pub max_streams: usize,
    /// Bytes of a line; a longer one is cut, and says so.
    #[schemars(range(min = 1, max = 262_144))]
    pub max_line_bytes: usize,
    /// Labels and resource attributes that name the service; the first one present counts, here and below. Lines of none of
    /// them belong to service `unknown`.
    pub service_labels: Vec<String>,
    /// Labels that name the environment. Without one it is `normalize.environment`.
    pub environment_labels: Vec<String>,
    /// Labels that name the cluster. Alerts and log patterns are linked by service where cluster and namespace are the same too.
    pub cluster_labels: Vec<String>,
    /// Labels that name the namespace.
    pub namespace_labels: Vec<String>,
}

impl Default for LogIntakeSettings {
    fn default() -> Self {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        LogIntakeSettings {
            max_lines: 100_000,
            max_streams: 5_000,
            max_line_bytes: 65_536,
            service_labels: names(&[
                "service.name",
                "service",
                "app",
                "app_kubernetes_io_name",
                "app.kubernetes.io/name",
                "service_name",
                "deployment",
                "k8s.deployment.name",
                "container",
            ]),
            environment_labels: names(&[
                "environment",
                "env",
                "deployment_environment",
                "deployment.environment.name",
                "deployment.environment",
            ]),
            cluster_labels: names(&["cluster", "k8s.cluster.name"]),
            namespace_labels: names(&["namespace", "kubernetes_namespace", "k8s.namespace.name"]),
        }
    }
}

impl LogIntakeSettings {
    /// Every fault, each beginning with the setting's name.
    pub(crate) fn faults(&self) -> Vec<String> {
        let all = [
            ("max_lines", self.max_lines),
            ("max_streams", self.max_streams),
            ("max_line_bytes", self.max_line_bytes),
        ];
        let zero = all.iter().filter(|(_, value)| *value == 0);
        zero.map(|(name, _)| format!("logs.{name} is 0: set at least 1"))
            .collect()
    }
}
