//! `[sources.kubernetes]`: the doc comments here are the configuration's reference.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The watch of a Kubernetes cluster; none unless one of `kubeconfig`, `in_cluster` and `url` is set. Every process with the role
/// `dispatcher` watches; what several see is one signal.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesWatchSettings {
    /// Name of the cluster, in keys and in label `cluster`. Letters, digits, `.`, `_` and `-`. Changing it makes other alerts of what
    /// is open.
    pub cluster: String,
    /// Environment of everything in the cluster. Empty: the labels of the objects decide, else `normalize.environment`.
    pub environment: String,
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
    /// Namespaces to watch; empty: all of them, which needs a ClusterRole. Named ones need a Role in each.
    pub namespaces: Vec<String>,
    /// Label selector of everything but Events, as `kubectl -l` takes it.
    pub label_selector: String,
    /// Field selector of Events, such as `type=Warning`.
    pub event_selector: String,
    /// Seconds after which a pod that is not ready, or cannot be scheduled, is an alert.
    pub not_ready_s: u64,
    /// Seconds that a container which died must have been running and ready before its alert ends. Shorter: a crash loop is many
    /// alerts; longer: the end is told later.
    pub stable_s: u64,
    /// Seconds that one request may take to be answered; of a watch, until its answer begins.
    pub timeout_s: u64,
    /// Seconds after which a watch is asked to end and is begun again. One that is silent for as long again is given up: bookmarks
    /// come once a minute.
    pub watch_s: u64,
    /// Most seconds between two tries while the API server is away or refuses.
    pub max_backoff_s: u64,
    /// Largest object, and largest page of a list, taken in. A larger one is refused.
    pub max_answer_bytes: usize,
}

impl Default for KubernetesWatchSettings {
    fn default() -> Self {
        KubernetesWatchSettings {
            cluster: "default".to_owned(),
            environment: String::new(),
            kubeconfig: None,
            context: None,
            in_cluster: false,
            url: None,
            token_file: None,
            ca_file: None,
            namespaces: Vec::new(),
            label_selector: String::new(),
            event_selector: String::new(),
            not_ready_s: 60,
            stable_s: 60,
            timeout_s: 10,
            watch_s: 240,
            max_backoff_s: 60,
            max_answer_bytes: 32 << 20,
        }
    }
}

impl KubernetesWatchSettings {
    /// Whether anybody wrote where the cluster is.
    pub fn configured(&self) -> bool {
        self.kubeconfig.is_some() || self.in_cluster || self.url.is_some()
    }

    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.configured() {
            return faults;
        }
        let ways = [self.kubeconfig.is_some(), self.in_cluster, self.url.is_some()];
        if ways.iter().filter(|way| **way).count() != 1 {
            faults.push("kubeconfig, in_cluster and url: set exactly one of them".to_owned());
        }
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if self.cluster.is_empty() || self.cluster.len() > 63 || !self.cluster.bytes().all(word) {
            faults.push("cluster: write a name of letters, digits, `.`, `_` and `-`, such as `prod-eu`".to_owned());
        }
        if self.context.is_some() && self.kubeconfig.is_none() {
            faults.push("context is set without kubeconfig: set kubeconfig, or remove context".to_owned());
        }
        match &self.url {
            Some(url) => faults.extend(url_fault(url, self.token_file.is_some())),
            None if self.token_file.is_some() || self.ca_file.is_some() => {
                faults.push("token_file and ca_file belong to url: set url, or remove them".to_owned());
            }
            None => {}
        }
        let name = |text: &String| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        for namespace in self.namespaces.iter().filter(|namespace| !name(namespace)) {
            faults.push(format!(
                "namespaces holds {namespace:?}, which is no name of a namespace"
            ));
        }
        for (field, value) in [
            ("timeout_s", self.timeout_s),
            ("watch_s", self.watch_s),
            ("max_backoff_s", self.max_backoff_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
        ] {
            if value == 0 {
                faults.push(format!("{field} is 0: set at least 1"));
            }
        }
        faults
    }

    /// Each namespace by itself, or all at once.
    pub(super) fn scopes(&self) -> Vec<Option<String>> {
        match self.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().cloned().map(Some).collect(),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    pub(super) fn max_backoff(&self) -> Duration {
        Duration::from_secs(self.max_backoff_s)
    }
}

/// Credentials in clear text leave the machine only where somebody chose a loopback address.
fn url_fault(url: &str, token: bool) -> Option<String> {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return Some("url is no address: write it as `https://10.0.0.1:6443`".to_owned());
    };
    let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Some("url must begin with http:// or https:// and name a host".to_owned());
    };
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Some("url holds a user or a password: remove them and set token_file".to_owned());
    }
    let loopback = host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    (token && scheme == "http" && !loopback).then(|| {
        "url is http and not a loopback address, so the token would cross the network readable: use https".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(settings: serde_json::Value, expected: &[&str]) {
        let settings: KubernetesWatchSettings = serde_json::from_value(settings).unwrap();
        let faults = settings.faults();
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.contains(expected), "{fault}");
        }
    }

    #[test]
    fn faults() {
        check(json!({}), &[]);
        check(json!({"in_cluster": true}), &[]);
        check(json!({"kubeconfig": "/k", "context": "c"}), &[]);
        check(json!({"in_cluster": true, "url": "https://x"}), &["exactly one"]);
        check(json!({"in_cluster": true, "cluster": "a:b"}), &["cluster"]);
        check(json!({"in_cluster": true, "context": "c"}), &["without kubeconfig"]);
        check(json!({"in_cluster": true, "ca_file": "/c"}), &["belong to url"]);
        check(json!({"in_cluster": true, "namespaces": ["a", "B"]}), &["\"B\""]);
        check(json!({"in_cluster": true, "watch_s": 0}), &["watch_s is 0"]);
        check(json!({"url": "http://10.0.0.1", "token_file": "/t"}), &["use https"]);
        check(json!({"url": "http://127.0.0.1:1", "token_file": "/t"}), &[]);
        check(json!({"url": "http://[::1]:1", "token_file": "/t"}), &[]);
        check(json!({"url": "https://u:p@x"}), &["holds a user"]);
        check(json!({"url": "ftp://x"}), &["must begin"]);
    }
}
