//! Past incidents that are like one, or like a text, as the API shows them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is like what was asked about, best first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimilarAnswer {
    pub similar: Vec<SimilarIncident>,
    /// The model that compared the texts, and the first digits of its hash.
    pub model: String,
    /// Records of the log that are not in the vectors yet: what they say cannot be found.
    pub behind: u64,
    /// What holds the vectors up, if something does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
}

/// A past incident, what it shares with what was asked about, and what fixed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SimilarIncident {
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub id: Uuid,
    /// From 0 to 1: the texts' vectors and the shared features together.
    pub score: f32,
    pub matched: Vec<MatchedFeature>,
    pub title: String,
    pub service: Option<String>,
    pub environment: String,
    pub severity: String,
    pub status: String,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: DateTime<Utc>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub resolved_at: Option<DateTime<Utc>>,
    /// `agent` or `human:NAME`.
    pub resolved_by: Option<String>,
    pub root_cause: Option<String>,
    pub resolution: Option<String>,
    /// Remediations that were carried out, those that helped first.
    pub fixes: Vec<Fix>,
}

/// Something that both have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MatchedFeature {
    /// `service`, `environment`, `alert`, `template`, `label`, `words`, `vector`.
    pub feature: String,
    /// The service's name, `team=shop`, the shared words, the cosine.
    pub value: String,
}

/// A remediation that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fix {
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub remediation: Uuid,
    /// `restart`, `rollback`, `scale`.
    pub action: String,
    /// `deployment/api-server`.
    pub target: String,
    pub namespace: Option<String>,
    /// `verified`: it helped, and that was checked. `unverified`, `rolled_back`, `executed`: as it says.
    pub status: String,
    pub note: Option<String>,
}
