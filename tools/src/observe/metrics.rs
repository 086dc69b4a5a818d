//! A metric store.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ToolError;

/// A sample of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    pub at: DateTime<Utc>,
    pub value: f64,
}

/// A series; an instant query gives one point each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    pub labels: BTreeMap<String, String>,
    pub points: Vec<Point>,
}

/// An alert that the rules of the metric store hold active.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActiveAlert {
    pub labels: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
    pub active_at: Option<DateTime<Utc>>,
}

/// Which rules are asked for. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RuleQuery {
    /// The name of the alert, or of the series that is recorded.
    pub name: Option<String>,
    /// Of both kinds where it is absent.
    pub kind: Option<RuleKind>,
}

/// What a rule makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    Alerting,
    Recording,
}

/// A rule as the metric store holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricRule {
    pub group: String,
    pub name: String,
    pub kind: RuleKind,
    /// PromQL.
    pub expression: String,
    /// Seconds that it must hold before the alert fires; 0 for rules that record.
    pub for_s: f64,
    /// Labels that it adds.
    pub labels: BTreeMap<String, String>,
    /// `ok`, `err` or `unknown`.
    pub health: String,
    pub last_error: Option<String>,
    pub evaluated_at: Option<DateTime<Utc>>,
    /// `inactive`, `pending` or `firing`; absent for rules that record.
    pub state: Option<String>,
    /// Alerts that it holds active.
    pub active: u32,
}

/// The answer to a [`RuleQuery`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleAnswer {
    pub rules: Vec<MetricRule>,
}

/// Which targets are asked for. All conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TargetQuery {
    pub job: Option<String>,
    /// Leaves out what answers.
    pub broken: bool,
}

/// Something that is scraped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    pub job: String,
    pub instance: String,
    pub labels: BTreeMap<String, String>,
    /// `up`, `down` or `unknown` (not scraped yet).
    pub health: String,
    pub last_error: Option<String>,
    pub scraped_at: Option<DateTime<Utc>>,
}

/// The answer to a [`TargetQuery`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TargetAnswer {
    pub targets: Vec<Target>,
    /// Of those that the question is about: how many answer, and how many do not.
    pub up: u32,
    pub down: u32,
}

/// A metric store that speaks PromQL.
#[async_trait]
pub trait Metrics: Send + Sync {
    async fn instant(&self, expression: &str, at: DateTime<Utc>) -> Result<Vec<Series>, ToolError>;

    async fn range(
        &self,
        expression: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: TimeDelta,
    ) -> Result<Vec<Series>, ToolError>;

    async fn alerts(&self) -> Result<Vec<ActiveAlert>, ToolError>;

    /// The rules as they are loaded, in the order of their files.
    async fn rules(&self, query: &RuleQuery) -> Result<RuleAnswer, ToolError>;

    /// What is scraped, by job and instance.
    async fn targets(&self, query: &TargetQuery) -> Result<TargetAnswer, ToolError>;
}
