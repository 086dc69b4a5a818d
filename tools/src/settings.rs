//! Where the systems beside Aegis are: the doc comments here are the configuration's reference.

mod github;
mod jira;
mod kubernetes;
mod loki;
mod prometheus;
mod slack;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;
use url::Url;

pub use github::GithubSettings;
pub use jira::JiraSettings;
pub use kubernetes::KubernetesSettings;
pub use loki::LokiSettings;
pub use prometheus::PrometheusSettings;
pub use slack::SlackSettings;

pub use crate::terraform::{TerraformFolder, TerraformSettings};

/// The systems that agents may look at and that approved remediations may change. All are absent unless configured.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ToolsSettings {
    /// A Prometheus, or what speaks its HTTP API (Thanos, Mimir, VictoriaMetrics).
    pub prometheus: PrometheusSettings,
    /// A Loki.
    pub loki: LokiSettings,
    /// What people write in Slack.
    pub slack: SlackSettings,
    /// A Kubernetes cluster.
    pub kubernetes: KubernetesSettings,
    /// Where code lies and is deployed from.
    pub github: GithubSettings,
    /// Where work is written down.
    pub jira: JiraSettings,
    /// Where infrastructure is described by code.
    pub terraform: TerraformSettings,
}

impl ToolsSettings {
    /// The settings by which something can be changed, once it is granted.
    pub fn acting(&self) -> Vec<&'static str> {
        let places = [
            ("tools.kubernetes", self.kubernetes.configured()),
            ("tools.github.write", !self.github.write.is_empty()),
            ("tools.jira.write", !self.jira.write.is_empty()),
            (
                "tools.terraform.folders.apply",
                self.terraform.folders.iter().any(|folder| folder.apply),
            ),
        ];
        let set = places.into_iter().filter(|(_, set)| *set);
        set.map(|(place, _)| place).collect()
    }

    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut of = |tool: &str, found: Vec<String>| {
            faults.extend(found.into_iter().map(|fault| format!("{tool}.{fault}")));
        };
        if self.prometheus.configured() {
            of("prometheus", self.prometheus.faults());
        }
        if self.loki.configured() {
            of("loki", self.loki.faults());
        }
        if self.slack.configured() {
            of("slack", self.slack.faults());
        }
        if self.kubernetes.configured() {
            of("kubernetes", self.kubernetes.faults());
        }
        if self.github.configured() {
            of("github", self.github.faults());
        }
        if self.jira.configured() {
            of("jira", self.jira.faults());
        }
        if self.terraform.configured() {
            of("terraform", self.terraform.faults());
        }
        faults
    }
}

/// `owner/name` as GitHub takes them, so that it can stand in a path.
pub fn repository_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 100
            && part.bytes().any(|byte| byte != b'.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| part(owner) && part(name))
}

/// A project's key: capital letters, digits and `_`, a letter first.
pub(crate) fn project_key(text: &str) -> bool {
    text.bytes().next().is_some_and(|first| first.is_ascii_uppercase())
        && text.len() <= 30
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// What may be written to must be among what may be read.
fn write_faults(of: &str, known: &[String], write: &[String]) -> Vec<String> {
    let other = write.iter().filter(|name| !known.contains(name));
    other
        .map(|name| format!("write holds `{name}`, which is not one of {of}: add it there, or remove it here"))
        .collect()
}

fn zeros(values: &[(&str, u64)]) -> Vec<String> {
    let zero = values.iter().filter(|(_, value)| *value == 0);
    zero.map(|(name, _)| format!("{name} is 0: set at least 1")).collect()
}

fn token_fault(token: Option<&Secret>) -> Option<String> {
    token.filter(|token| !sendable(token)).map(|_| {
        "token is empty or holds blanks or control characters: no header can carry it; remove it, or set the whole token"
            .to_owned()
    })
}

/// It can stand behind `Bearer ` in a header.
fn sendable(token: &Secret) -> bool {
    !token.is_empty() && token.expose().bytes().all(|byte| byte.is_ascii_graphic())
}

/// The fault of an address in the setting `name`, if it has one. Credentials in clear text leave the machine only where somebody chose a loopback address.
pub fn url_fault(name: &str, url: &str, token: bool) -> Option<String> {
    let parsed = match Url::parse(url) {
        Ok(parsed) => parsed,
        Err(fault) => {
            return Some(format!(
                "{name} is no address ({fault}): write it as `http://127.0.0.1:9090`"
            ));
        }
    };
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
        return Some(format!("{name} must begin with http:// or https:// and name a host"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Some(format!(
            "{name} holds a user or a password: remove them and set a token"
        ));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Some(format!("{name} holds a query or a fragment: remove it"));
    }
    let loopback = match parsed.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(domain)) => domain == "localhost",
        None => false,
    };
    (token && parsed.scheme() == "http" && !loopback).then(|| {
        format!("{name} is http and not a loopback address, so the token would cross the network readable: use https")
    })
}

/// A label as Loki takes them, so that it can stand in a path.
pub(crate) fn label_name(label: &str) -> bool {
    let mut bytes = label.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(settings: serde_json::Value, expected: &[&str]) {
        let settings: ToolsSettings = serde_json::from_value(settings).unwrap();
        let faults = settings.faults();
        assert_eq!(faults.len(), expected.len(), "{faults:?}");
        for (fault, expected) in faults.iter().zip(expected) {
            assert!(fault.contains(expected), "{fault}");
        }
        let shown = format!("{settings:?}{}", serde_json::to_string(&settings).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn faults() {
        check(json!({}), &[]);
        check(
            json!({"prometheus": {"url": "http://127.0.0.1:9090", "token": "hunter2"}}),
            &[],
        );
        check(
            json!({"prometheus": {"url": "http://prometheus:9090", "token": "hunter2"}}),
            &["use https"],
        );
        check(
            json!({"prometheus": {"token": "hunter2"}}),
            &["prometheus.url is no address"],
        );
        check(json!({"prometheus": {}, "loki": {}, "kubernetes": {}}), &[]);
        check(json!({"prometheus": {"url": "ftp://x"}}), &["must begin with http"]);
        check(json!({"prometheus": {"url": "http://u:hunter3@x"}}), &["set a token"]);
        check(
            json!({"prometheus": {"url": "http://x", "timeout_s": 0}}),
            &["timeout_s is 0"],
        );
        check(
            json!({"loki": {"url": "http://x", "service_labels": []}}),
            &["service_labels is empty"],
        );
        check(
            json!({"loki": {"url": "http://x", "service_labels": ["a\"b"]}}),
            &["no label of Loki"],
        );
        check(json!({"loki": {"url": "http://x", "tenant": "a b"}}), &["tenant"]);
        check(
            json!({"kubernetes": {"in_cluster": true, "url": "https://x"}}),
            &["exactly one"],
        );
        check(
            json!({"kubernetes": {"in_cluster": true, "token_file": "/t"}}),
            &["belong to url"],
        );
        check(
            json!({"kubernetes": {"in_cluster": true, "context": "c"}}),
            &["without kubeconfig"],
        );
        check(
            json!({"kubernetes": {"in_cluster": true, "cluster": ""}}),
            &["cluster is empty"],
        );
        check(json!({"kubernetes": {"kubeconfig": "/k", "context": "c"}}), &[]);
        check(
            json!({"github": {"token": "hunter2", "repositories": ["shop/api-server", "a.b/c_d"]}}),
            &[],
        );
        check(json!({"github": {"token": "hunter2"}}), &["repositories is empty"]);
        for bad in [
            "shop", "shop/", "/x", "shop/a/b", "shop/..", "../x", "shop/a b", "shop/ä",
        ] {
            check(json!({"github": {"repositories": [bad]}}), &["which is no repository"]);
        }
        check(
            json!({"jira": {"url": "https://x", "user": "kim@example.org", "token": "hunter2", "projects": ["OPS"]}}),
            &[],
        );
        check(
            json!({"jira": {"url": "https://x", "user": "kim:x", "projects": ["ops", "A B"]}}),
            &["token is missing", "holds a colon", "`ops`", "`A B`"],
        );
        check(json!({"jira": {"url": "https://x"}}), &["projects is empty"]);
        check(
            json!({"jira": {"url": "https://x", "token": "hunter2", "projects": ["OPS"], "write": ["OPS"], "follow_ups": "OPS"}}),
            &[],
        );
        check(
            json!({"jira": {"url": "https://x", "projects": ["OPS"], "write": ["HR"], "follow_ups": "OPS", "issue_type": " "}}),
            &[
                "which is not one of projects",
                "write_token is missing",
                "follow_ups is `OPS`",
                "issue_type",
            ],
        );
        check(
            json!({"github": {"write_token": "hunter2", "repositories": ["shop/api"], "write": ["shop/api"]}}),
            &[],
        );
        check(
            json!({"github": {"repositories": ["shop/api"], "write": ["shop/web"], "write_token": ""}}),
            &["which is not one of repositories", "write_token is empty"],
        );
        check(
            json!({"kubernetes": {"in_cluster": true, "cluster": "github"}}),
            &["names another system"],
        );
    }
}
