//! `[tools.kubernetes]`.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{url_fault, zeros};

/// A Kubernetes cluster: one of `kubeconfig`, `in_cluster` and `url`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSettings {
    /// What actions and policies call this cluster.
    pub cluster: String,
    /// A kubeconfig file. A command that it names for its credentials is run.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one where none is given.
    pub context: Option<String>,
    /// Aegis runs in the cluster and uses its service account.
    pub in_cluster: bool,
    /// Address of the API server.
    pub url: Option<String>,
    /// File with a bearer token for `url`; it is read again when it changes.
    pub token_file: Option<PathBuf>,
    /// File with the certificates (PEM) that the API server at `url` is trusted by.
    pub ca_file: Option<PathBuf>,
    /// Seconds that one request may take.
    pub timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most objects of one list looked through: pods, revisions, events of a namespace. Longer lists are refused.
    pub max_items: usize,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        KubernetesSettings {
            cluster: "default".to_owned(),
            kubeconfig: None,
            context: None,
            in_cluster: false,
            url: None,
            token_file: None,
            ca_file: None,
            timeout_s: 10,
            max_answer_bytes: 8 << 20,
            max_items: 5_000,
        }
    }
}

impl KubernetesSettings {
    /// Whether anybody wrote where it is.
    pub fn configured(&self) -> bool {
        self.in_cluster
            || self.kubeconfig.is_some()
            || self.url.is_some()
            || self.context.is_some()
            || self.token_file.is_some()
            || self.ca_file.is_some()
    }

    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let ways = [self.kubeconfig.is_some(), self.in_cluster, self.url.is_some()];
        if ways.iter().filter(|way| **way).count() != 1 {
            faults.push("kubeconfig, in_cluster and url: set exactly one of them".to_owned());
        }
        if self.cluster.is_empty() {
            faults.push("cluster is empty: give it a name, such as `default`".to_owned());
        }
        if model::action::SYSTEMS.contains(&self.cluster.as_str()) {
            faults.push(format!(
                "cluster is `{}`, which names another system in policies: give it another name",
                self.cluster
            ));
        }
        if self.context.is_some() && self.kubeconfig.is_none() {
            faults.push("context is set without kubeconfig: set kubeconfig, or remove context".to_owned());
        }
        if let Some(url) = &self.url {
            faults.extend(url_fault("url", url, self.token_file.is_some()));
        } else if self.token_file.is_some() || self.ca_file.is_some() {
            faults.push("token_file and ca_file belong to url: set url, or remove them".to_owned());
        }
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_items", self.max_items as u64),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}
