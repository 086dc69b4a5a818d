//! `[tools.prometheus]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::secret::Secret;

use super::{token_fault, url_fault, zeros};

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

impl PrometheusSettings {
    /// Whether anybody wrote where it is.
    pub fn configured(&self) -> bool {
        !self.url.is_empty() || self.token.is_some()
    }

    pub(super) fn faults(&self) -> Vec<String> {
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
