//! Evidence and findings: what an agent learned, and where anybody can look it up again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::action::hex;

/// Longest excerpt kept of what a tool answered, in characters. Longer: a hostile log line fills the log and the page.
pub const EXCERPT_LIMIT: usize = 600;

/// One thing that was observed: a question to a system and what it answered. Statements cite it by `id`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// Derived from source, question and answer: the same observation has the same id.
    pub id: String,
    /// `prometheus`, `logs`, `kubernetes`, `github`, `jira`, `terraform`, `signal`, `change`, `incident`, `remediation`.
    pub source: String,
    /// The question, so that it can be asked again: a PromQL expression, a LogQL selector, a path.
    pub query: String,
    /// The span of time asked about; both ends equal for an instant.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// What it answered, redacted and cut to [`EXCERPT_LIMIT`]. Untrusted text.
    pub excerpt: String,
}

impl Citation {
    pub fn new(
        source: &str,
        query: impl Into<String>,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        excerpt: &str,
    ) -> Self {
        let query = query.into();
        let excerpt: String = excerpt.chars().take(EXCERPT_LIMIT).collect();
        let mut hash = Sha256::new();
        for part in [source, &query, &from.to_rfc3339(), &to.to_rfc3339(), &excerpt] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Citation {
            id: format!("{}-{}", source, &hex(&hash.finalize())[..10]),
            source: source.to_owned(),
            query,
            from,
            to,
            excerpt,
        }
    }
}

/// What a finding is about: the later steps decide by it, never by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// How bad it is, from the metric that the alert is about.
    Impact,
    /// Error lines, counted by template.
    ErrorLines,
    /// Memory was exhausted, in the words of the process that ran out of it.
    OutOfMemory,
    /// A metric of the service rose or fell.
    MetricChange,
    /// Traffic rose before the symptom did.
    TrafficBeforeSymptom,
    /// A change of the same service shortly before.
    RecentChange,
    /// Pods that restart, crash, or are not ready.
    UnhealthyPods,
    /// A weakness that a scanner tells of: code, a dependency, a secret in a repository.
    SecurityAlert,
    /// A secret where it must not be: which kind and where, never the secret.
    SecretExposed,
    /// Whether infrastructure or a workload is what was written down for it.
    Drift,
}

/// A statement of an agent with its evidence. One without a citation is not emitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// One sentence for people. May hold untrusted text: show it, never interpret it.
    pub summary: String,
    /// Numbers and names behind the sentence, for the steps that follow.
    #[serde(default)]
    pub facts: serde_json::Map<String, serde_json::Value>,
    pub citations: Vec<Citation>,
}

/// A sentence and the ids of the citations that carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub text: String,
    /// Ids of [`Citation`]s; empty only where the text says that something is not known.
    pub citations: Vec<String>,
}

/// A moment of the story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub at: DateTime<Utc>,
    pub text: String,
    pub citations: Vec<String>,
}

/// The report about a closed incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Postmortem {
    pub root_cause: Statement,
    pub impact: Statement,
    pub timeline: Vec<Moment>,
    pub resolution: Statement,
    pub follow_ups: Vec<Statement>,
    /// Everything that the statements cite.
    pub citations: Vec<Citation>,
}
