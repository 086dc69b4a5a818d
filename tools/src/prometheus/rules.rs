//! Rules: <https://prometheus.io/docs/prometheus/latest/querying/api/#rules>.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::shown;
use crate::observe::{MetricRule, RuleKind, RuleQuery};
use crate::redact::{redact, shorten};

/// Longest expression that is handed on, in characters.
const EXPRESSION_CHARS: usize = 4_000;

/// What the server is asked for. One that is too old to select by name answers with all; [`read`] selects again.
pub(super) fn parameters(query: &RuleQuery) -> Vec<(&str, &str)> {
    let kind = query.kind.map(|kind| match kind {
        RuleKind::Alerting => "alert",
        RuleKind::Recording => "record",
    });
    let mut parameters = Vec::new();
    parameters.extend(kind.map(|kind| ("type", kind)));
    parameters.extend(query.name.as_deref().map(|name| ("rule_name[]", name)));
    parameters
}

pub(super) fn read(found: Groups, query: &RuleQuery) -> Vec<MetricRule> {
    let rules = found.groups.into_iter().flat_map(|group| {
        let name = shorten(&redact(&group.name), 200);
        group.rules.into_iter().map(move |rule| rule.told(&name))
    });
    rules
        .filter(|rule| query.kind.is_none_or(|kind| kind == rule.kind))
        .filter(|rule| query.name.as_ref().is_none_or(|name| *name == rule.name))
        .collect()
}

#[derive(Deserialize)]
pub(super) struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(rename = "type")]
    kind: Kind,
    name: String,
    query: String,
    /// Seconds; of alerts alone.
    #[serde(default)]
    duration: f64,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    alerts: Vec<serde::de::IgnoredAny>,
    health: String,
    last_error: Option<String>,
    last_evaluation: Option<DateTime<Utc>>,
    state: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Alerting,
    Recording,
}

impl Rule {
    fn told(self, group: &str) -> MetricRule {
        MetricRule {
            group: group.to_owned(),
            name: self.name,
            kind: match self.kind {
                Kind::Alerting => RuleKind::Alerting,
                Kind::Recording => RuleKind::Recording,
            },
            expression: shorten(&redact(&self.query), EXPRESSION_CHARS),
            for_s: self.duration,
            labels: shown(self.labels),
            health: shorten(&self.health, 40),
            last_error: self
                .last_error
                .filter(|error| !error.is_empty())
                .map(|error| shorten(&redact(&error), 300)),
            // Never evaluated: the year 1.
            evaluated_at: self.last_evaluation.filter(|at| at.timestamp() > 0),
            state: self.state.map(|state| shorten(&state, 40)),
            active: u32::try_from(self.alerts.len()).unwrap_or(u32::MAX),
        }
    }
}
