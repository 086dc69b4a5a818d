//! `[tools.loki]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::{label_name, token_fault, url_fault, zeros};

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

impl LokiSettings {
    /// Whether anybody wrote where it is.
    pub fn configured(&self) -> bool {
        !self.url.is_empty() || self.token.is_some() || self.tenant.is_some()
    }

    pub(super) fn faults(&self) -> Vec<String> {
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
