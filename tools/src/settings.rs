//! Where the systems beside Aegis are: the doc comments here are the configuration's reference.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;
use url::Url;

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
}

/// A metric store.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrometheusSettings {
    /// Address, with a path where the API stands under one: `http://127.0.0.1:9090`. Empty: there is none.
    pub url: String,
    /// Bearer token.
    pub token: Option<Secret>,
    /// Seconds that one question may take.
    pub timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most series handed on. More are refused: aggregate, or select by more labels.
    pub max_series: usize,
    /// Most points of one series handed on. More are refused: take a larger step.
    pub max_points: usize,
}

/// A store of log lines.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LokiSettings {
    /// Address: `http://127.0.0.1:3100`. Empty: our own store of log lines is asked.
    pub url: String,
    /// Sent as `X-Scope-OrgID`, which a Loki for several tenants needs.
    pub tenant: Option<String>,
    /// Bearer token.
    pub token: Option<Secret>,
    /// Seconds that one question may take.
    pub timeout_s: u64,
    /// Labels that may hold a service's name. They are tried in order until one has lines.
    pub service_labels: Vec<String>,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most lines handed on.
    pub max_lines: u32,
    /// Most characters of one line handed on.
    pub max_line_chars: usize,
}

/// What people write in channels of Slack. Read only; messages to people are `[notify]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlackSettings {
    /// Address of the Web API.
    pub url: String,
    /// Bot token with the scope `channels:history`, and `groups:history` for private channels.
    pub token: Option<Secret>,
    /// Ids of the channels that may be read, such as `C0123456789`. No others are, whoever asks.
    pub channels: Vec<String>,
    /// Seconds that one question may take.
    pub timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most messages handed on. Slack hands out 999 at once.
    #[schemars(range(min = 1, max = 999))]
    pub max_messages: u32,
    /// Most characters of one message handed on.
    pub max_message_chars: usize,
}

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

/// GitHub, or a GitHub Enterprise Server. Read only: what changed in a deployment, so that a postmortem can name it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GithubSettings {
    /// Address of the REST API; of an Enterprise Server `https://HOST/api/v3`.
    pub url: String,
    /// Token that may read contents and deployments of the repositories.
    pub token: Option<Secret>,
    /// Repositories that may be read, as `owner/name`. No others are, whoever asks. A service's repository is the one that is called
    /// like it.
    pub repositories: Vec<String>,
    /// Seconds that one question may take.
    pub timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most commits of one comparison handed on.
    #[schemars(range(min = 1, max = 100))]
    pub max_commits: usize,
}

/// A Jira. Read only: which tickets are open about a service.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JiraSettings {
    /// Address: `https://example.atlassian.net`, or that of a Data Center. Empty: there is none.
    pub url: String,
    /// Jira Cloud: the mail address that the API token belongs to. Empty: a Data Center, whose tokens stand alone.
    pub user: String,
    /// API token (Cloud), or personal access token (Data Center).
    pub token: Option<Secret>,
    /// Keys of the projects that may be read, such as `OPS`. No others are, whoever asks.
    pub projects: Vec<String>,
    /// Seconds that one question may take.
    pub timeout_s: u64,
    /// Most bytes taken in of one answer. Larger answers are refused.
    pub max_answer_bytes: usize,
    /// Most tickets handed on.
    #[schemars(range(min = 1, max = 100))]
    pub max_tickets: u32,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        PrometheusSettings {
            url: String::new(),
            token: None,
            timeout_s: 10,
            max_answer_bytes: 4 << 20,
            max_series: 200,
            max_points: 2_000,
        }
    }
}

impl Default for LokiSettings {
    fn default() -> Self {
        LokiSettings {
            url: String::new(),
            tenant: None,
            token: None,
            timeout_s: 10,
            service_labels: ["service_name", "app", "service"].map(str::to_owned).to_vec(),
            max_answer_bytes: 8 << 20,
            max_lines: 1_000,
            max_line_chars: 2_000,
        }
    }
}

impl Default for SlackSettings {
    fn default() -> Self {
        SlackSettings {
            url: "https://slack.com/api".to_owned(),
            token: None,
            channels: Vec::new(),
            timeout_s: 10,
            max_answer_bytes: 4 << 20,
            max_messages: 200,
            max_message_chars: 2_000,
        }
    }
}

impl Default for GithubSettings {
    fn default() -> Self {
        GithubSettings {
            url: "https://api.github.com".to_owned(),
            token: None,
            repositories: Vec::new(),
            timeout_s: 10,
            max_answer_bytes: 8 << 20,
            max_commits: 50,
        }
    }
}

impl Default for JiraSettings {
    fn default() -> Self {
        JiraSettings {
            url: String::new(),
            user: String::new(),
            token: None,
            projects: Vec::new(),
            timeout_s: 10,
            max_answer_bytes: 4 << 20,
            max_tickets: 20,
        }
    }
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

impl ToolsSettings {
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
        faults
    }
}

impl PrometheusSettings {
    /// Whether anybody wrote where it is.
    pub fn configured(&self) -> bool {
        !self.url.is_empty() || self.token.is_some()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(url_fault("url", &self.url, self.token.is_some()));
        faults.extend(token_fault(self.token.as_ref()));
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_series", self.max_series as u64),
            ("max_points", self.max_points as u64),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

impl LokiSettings {
    /// Whether anybody wrote where it is.
    pub fn configured(&self) -> bool {
        !self.url.is_empty() || self.token.is_some() || self.tenant.is_some()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(url_fault("url", &self.url, self.token.is_some()));
        faults.extend(token_fault(self.token.as_ref()));
        let header = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if self.tenant.as_ref().is_some_and(|tenant| !header(tenant)) {
            faults.push("tenant is empty or holds blanks or control characters: no header can carry it".to_owned());
        }
        if self.service_labels.is_empty() {
            faults.push("service_labels is empty: name the label that holds a service's name".to_owned());
        }
        for label in self.service_labels.iter().filter(|label| !label_name(label)) {
            faults.push(format!(
                "service_labels holds `{label}`, which is no label of Loki: letters, digits and _, and no digit first"
            ));
        }
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_lines", self.max_lines.into()),
            ("max_line_chars", self.max_line_chars as u64),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
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

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let ways = [self.kubeconfig.is_some(), self.in_cluster, self.url.is_some()];
        if ways.iter().filter(|way| **way).count() != 1 {
            faults.push("kubeconfig, in_cluster and url: set exactly one of them".to_owned());
        }
        if self.cluster.is_empty() {
            faults.push("cluster is empty: give it a name, such as `default`".to_owned());
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

impl SlackSettings {
    /// Whether anybody wrote what may be read.
    pub fn configured(&self) -> bool {
        self.token.is_some() || !self.channels.is_empty()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(url_fault("url", &self.url, self.token.is_some()));
        faults.extend(token_fault(self.token.as_ref()));
        if self.token.is_none() {
            faults.push("token is missing: write a reference to a bot token with scope channels:history".to_owned());
        }
        if self.channels.is_empty() {
            faults.push("channels is empty: write the ids of the channels that may be read".to_owned());
        }
        let id = |text: &String| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        for channel in self.channels.iter().filter(|channel| !id(channel)) {
            faults.push(format!(
                "channels holds `{channel}`, which is no id of a channel: they look like C0123456789"
            ));
        }
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_messages", self.max_messages.into()),
            ("max_message_chars", self.max_message_chars as u64),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

impl GithubSettings {
    /// Whether anybody wrote what may be read.
    pub fn configured(&self) -> bool {
        self.token.is_some() || !self.repositories.is_empty()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(url_fault("url", &self.url, self.token.is_some()));
        faults.extend(token_fault(self.token.as_ref()));
        if self.repositories.is_empty() {
            faults.push("repositories is empty: write the repositories that may be read, as `owner/name`".to_owned());
        }
        for name in self.repositories.iter().filter(|name| !repository_name(name)) {
            faults.push(format!(
                "repositories holds `{name}`, which is no repository: they look like `owner/name`"
            ));
        }
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_commits", self.max_commits as u64),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

impl JiraSettings {
    /// Whether anybody wrote where it is.
    pub fn configured(&self) -> bool {
        !self.url.is_empty() || self.token.is_some() || !self.user.is_empty() || !self.projects.is_empty()
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(url_fault("url", &self.url, self.token.is_some()));
        faults.extend(token_fault(self.token.as_ref()));
        if !self.user.is_empty() && self.token.is_none() {
            faults.push("token is missing: write a reference to the API token of `user`".to_owned());
        }
        if self.user.contains(':') || self.user.chars().any(char::is_control) {
            faults.push("user holds a colon or control characters: write the mail address alone".to_owned());
        }
        if self.projects.is_empty() {
            faults.push("projects is empty: write the keys of the projects that may be read".to_owned());
        }
        for key in self.projects.iter().filter(|key| !project_key(key)) {
            faults.push(format!(
                "projects holds `{key}`, which is no key of a project: they look like OPS"
            ));
        }
        faults.extend(zeros(&[
            ("timeout_s", self.timeout_s),
            ("max_answer_bytes", self.max_answer_bytes as u64),
            ("max_tickets", self.max_tickets.into()),
        ]));
        faults
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
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

fn label_name(label: &str) -> bool {
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
    }
}
