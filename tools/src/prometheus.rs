//! Metrics by the HTTP API of Prometheus: <https://prometheus.io/docs/prometheus/latest/querying/api/>.
//!
//! Samples that are no finite number are left out: they mean "no value" (0/0), and JSON has no word for them. An answer with more
//! series, points, rules or targets than are handed on is refused, never cut, because half a result reads as a whole one.

mod rules;
mod targets;

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ToolError;
use crate::observe::{ActiveAlert, Metrics, Point, RuleAnswer, RuleQuery, Series, TargetAnswer, TargetQuery};
use crate::redact::redact_named;
use crate::settings::PrometheusSettings;
use crate::wire::{Failure, Http};

const TOOL: &str = "prometheus";

/// Longest expression asked. Longer: the address of the question outgrows what servers take.
const EXPRESSION_LIMIT: usize = 4096;

/// Longest name of a rule or a job asked for.
const NAME_LIMIT: usize = 253;

/// A Prometheus.
pub struct Prometheus {
    http: Http,
    max_series: usize,
    max_points: usize,
}

impl Prometheus {
    pub fn new(settings: &PrometheusSettings) -> Result<Self, ToolError> {
        let (token, limit) = (settings.token.clone(), settings.max_answer_bytes);
        Ok(Prometheus {
            http: Http::new(TOOL, &settings.url, token, settings.timeout(), limit)?,
            max_series: settings.max_series,
            max_points: settings.max_points,
        })
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ToolError> {
        let answer: Envelope<T> = self
            .http
            .get(path, query)
            .await
            .map_err(|failure| failure.of_a_question(TOOL))?;
        match answer {
            Envelope::Success { data } => Ok(data),
            // Errors come with a status of their own; one within a 200 is not the protocol.
            Envelope::Error { error } => Err(Failure::Garbled(error).of_a_question(TOOL)),
        }
    }

    fn at_most(&self, found: usize, what: &str, remedy: &str) -> Result<(), ToolError> {
        if found <= self.max_series {
            return Ok(());
        }
        let most = self.max_series;
        let cause = format!("there are {found} {what}, at most {most} are handed on: {remedy}");
        Err(ToolError::refused(TOOL, cause))
    }

    fn series(&self, data: Data) -> Result<Vec<Series>, ToolError> {
        let found: Vec<(BTreeMap<String, String>, Vec<Sample>)> = match data {
            Data::Vector(series) => series.into_iter().map(|one| (one.metric, vec![one.value])).collect(),
            Data::Matrix(series) => series.into_iter().map(|one| (one.metric, one.values)).collect(),
            Data::Scalar(sample) => vec![(BTreeMap::new(), vec![sample])],
            Data::String(_) => return Err(ToolError::refused(TOOL, "the expression gives a text, not numbers")),
        };
        if found.len() > self.max_series {
            let cause = format!(
                "the answer has {} series, at most {} are handed on: aggregate, or select by more labels",
                found.len(),
                self.max_series
            );
            return Err(ToolError::refused(TOOL, cause));
        }
        let series = found.into_iter().map(|(labels, samples)| {
            let points = samples.iter().map(point).collect::<Result<Vec<_>, _>>()?;
            Ok(Series {
                labels: shown(labels),
                points: points.into_iter().flatten().collect(),
            })
        });
        let series: Result<Vec<Series>, Failure> = series.collect();
        series.map_err(|failure| failure.of_a_question(TOOL))
    }
}

#[async_trait]
impl Metrics for Prometheus {
    async fn instant(&self, expression: &str, at: DateTime<Utc>) -> Result<Vec<Series>, ToolError> {
        check(expression)?;
        let query = [("query", expression), ("time", &time(at))];
        let data = self.ask("/api/v1/query", &query).await?;
        self.series(data)
    }

    async fn range(
        &self,
        expression: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: TimeDelta,
    ) -> Result<Vec<Series>, ToolError> {
        check(expression)?;
        if step < TimeDelta::seconds(1) || to < from {
            let cause = format!(
                "the span {from} to {to} in steps of {step} is none: end after the start, steps of 1 s or more"
            );
            return Err(ToolError::refused(TOOL, cause));
        }
        let points = (to - from).num_seconds() / step.num_seconds() + 1;
        if points > self.max_points as i64 {
            let cause = format!(
                "{points} points a series, at most {} are handed on: take a larger step",
                self.max_points
            );
            return Err(ToolError::refused(TOOL, cause));
        }
        let (from, to, step) = (time(from), time(to), step.num_seconds().to_string());
        let query = [("query", expression), ("start", &from), ("end", &to), ("step", &step)];
        let data = self.ask("/api/v1/query_range", &query).await?;
        self.series(data)
    }

    async fn alerts(&self) -> Result<Vec<ActiveAlert>, ToolError> {
        let data: Alerts = self.ask("/api/v1/alerts", &[]).await?;
        if data.alerts.len() > self.max_series {
            let cause = format!(
                "{} alerts are active, at most {} are handed on: ask for `ALERTS` with labels",
                data.alerts.len(),
                self.max_series
            );
            return Err(ToolError::refused(TOOL, cause));
        }
        let active = data.alerts.into_iter().map(|alert| ActiveAlert {
            labels: shown(alert.labels),
            state: alert.state,
            active_at: alert.active_at,
        });
        Ok(active.collect())
    }

    async fn rules(&self, query: &RuleQuery) -> Result<RuleAnswer, ToolError> {
        if let Some(name) = &query.name {
            check_name("name", name)?;
        }
        let found = self.ask("/api/v1/rules", &rules::parameters(query)).await?;
        let rules = rules::read(found, query);
        self.at_most(rules.len(), "rules", "ask for one by its name")?;
        Ok(RuleAnswer { rules })
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetAnswer, ToolError> {
        if let Some(job) = &query.job {
            check_name("job", job)?;
        }
        let found = self.ask("/api/v1/targets", &[("state", "active")]).await?;
        let answer = targets::read(found, query);
        self.at_most(
            answer.targets.len(),
            "targets",
            "ask for one job, or for the broken ones",
        )?;
        Ok(answer)
    }
}

/// The envelope of every answer.
#[derive(Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Envelope<T> {
    Success { data: T },
    Error { error: String },
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Instant>),
    Matrix(Vec<Range>),
    Scalar(Sample),
    String(serde::de::IgnoredAny),
}

/// Unix seconds, and the value as text, because it may be `NaN`.
type Sample = (f64, String);

#[derive(Deserialize)]
struct Instant {
    metric: BTreeMap<String, String>,
    value: Sample,
}

#[derive(Deserialize)]
struct Range {
    metric: BTreeMap<String, String>,
    values: Vec<Sample>,
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    labels: BTreeMap<String, String>,
    state: String,
    active_at: Option<DateTime<Utc>>,
}

fn check(expression: &str) -> Result<(), ToolError> {
    if expression.trim().is_empty() {
        return Err(ToolError::refused(TOOL, "the expression is empty"));
    }
    if expression.len() > EXPRESSION_LIMIT {
        let cause = format!(
            "the expression has {} bytes, at most {EXPRESSION_LIMIT} are asked",
            expression.len()
        );
        return Err(ToolError::refused(TOOL, cause));
    }
    Ok(())
}

/// The name of a rule or a job: it becomes a part of an address.
fn check_name(field: &str, name: &str) -> Result<(), ToolError> {
    let fits = !name.is_empty() && name.len() <= NAME_LIMIT && !name.chars().any(char::is_control);
    match fits {
        true => Ok(()),
        false => Err(ToolError::refused(
            TOOL,
            format!("{field} has 1 to {NAME_LIMIT} bytes, and no control characters"),
        )),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `None` for a value that is no finite number.
fn point((seconds, value): &Sample) -> Result<Option<Point>, Failure> {
    let garbled = || Failure::Garbled(format!("a sample of {value:?} at {seconds}"));
    let at = DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64).ok_or_else(garbled)?;
    let value: f64 = value.parse().map_err(|_| garbled())?;
    Ok(value.is_finite().then_some(Point { at, value }))
}

fn shown(labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = labels.into_iter().map(|(name, value)| {
        let value = redact_named(&name, &value);
        (name, value)
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prometheus() -> Prometheus {
        let settings = PrometheusSettings {
            url: "http://127.0.0.1:1".to_owned(),
            ..PrometheusSettings::default()
        };
        Prometheus::new(&settings).unwrap()
    }

    fn series(result: &str) -> Result<Vec<Series>, ToolError> {
        prometheus().series(serde_json::from_str(result).unwrap())
    }

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let matrix = r#"{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[1.5,"1"],[2,"NaN"],[3,"+Inf"],[4,"4e3"]]}]}"#;
        let found = series(matrix).unwrap();
        let points: Vec<_> = found[0]
            .points
            .iter()
            .map(|point| (point.at.timestamp_millis(), point.value))
            .collect();
        assert_eq!(points, [(1500, 1.0), (4000, 4000.0)]);
    }

    #[test]
    fn every_type_of_result() {
        let scalar = series(r#"{"resultType":"scalar","result":[1,"7"]}"#).unwrap();
        assert_eq!((scalar[0].labels.len(), scalar[0].points[0].value), (0, 7.0));
        let text = series(r#"{"resultType":"string","result":[1,"seven"]}"#).unwrap_err();
        assert!(text.to_string().contains("gives a text"), "{text}");
        let odd = series(r#"{"resultType":"scalar","result":[1,"seven"]}"#).unwrap_err();
        assert!(matches!(odd, ToolError::DidNotHappen { retry: true, .. }), "{odd}");
    }
}
