//! A metric store.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{NoArguments, Purpose, Tool, arguments_of, json, observing, unknown};
use crate::ToolError;
use crate::observe::{ActiveAlert, Metrics, Observe, RuleAnswer, RuleQuery, Series, TargetAnswer, TargetQuery};

/// A PromQL expression at one instant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstantArguments {
    /// PromQL.
    pub expression: String,
    pub at: DateTime<Utc>,
}

/// A PromQL expression over a span of time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeArguments {
    /// PromQL.
    pub expression: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Seconds between two points.
    pub step_s: u32,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        observing::<InstantArguments, Vec<Series>>("prometheus_query", "Evaluate a PromQL expression at one instant."),
        observing::<RangeArguments, Vec<Series>>(
            "prometheus_query_range",
            "Evaluate a PromQL expression over a span of time.",
        ),
        observing::<NoArguments, Vec<ActiveAlert>>(
            "prometheus_alerts",
            "The alerts that the metric store's rules hold active.",
        ),
        observing::<RuleQuery, RuleAnswer>(
            "prometheus_rules",
            "The rules of the metric store: what each asks, how long, and whether it can be evaluated; those of one alert by its name.",
        ),
        observing::<TargetQuery, TargetAnswer>(
            "prometheus_targets",
            "What the metric store scrapes, whether it answered, and why not.",
        ),
    ]
}

pub(super) async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    Ok(match name {
        "prometheus_query" => {
            let read: InstantArguments = arguments_of("prometheus_query", arguments)?;
            json(metrics(observe)?.instant(&read.expression, read.at).await?)
        }
        "prometheus_query_range" => {
            let read: RangeArguments = arguments_of("prometheus_query_range", arguments)?;
            let step = TimeDelta::seconds(read.step_s.into());
            json(
                metrics(observe)?
                    .range(&read.expression, read.from, read.to, step)
                    .await?,
            )
        }
        "prometheus_alerts" => {
            let NoArguments {} = arguments_of("prometheus_alerts", arguments)?;
            json(metrics(observe)?.alerts().await?)
        }
        "prometheus_rules" => {
            let read: RuleQuery = arguments_of("prometheus_rules", arguments)?;
            json(metrics(observe)?.rules(&read).await?)
        }
        "prometheus_targets" => {
            let read: TargetQuery = arguments_of("prometheus_targets", arguments)?;
            json(metrics(observe)?.targets(&read).await?)
        }
        other => return Err(unknown(other, Purpose::Observe)),
    })
}

fn metrics(observe: &Observe) -> Result<&dyn Metrics, ToolError> {
    observe.metrics.as_deref().ok_or(ToolError::Absent {
        tool: "prometheus",
        setting: "tools.prometheus.url",
    })
}
