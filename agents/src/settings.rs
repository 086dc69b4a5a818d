//! `[agents]`: what the agents ask, how long they look back, and when they call something bad.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;

use crate::expression;
use crate::reasoner::ModelSettings;

/// The agents that look into incidents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Longest that a step may take, whatever its deadline.
    pub step_timeout: HumanDuration,
    /// Longest that one question to a tool may take.
    pub call_timeout: HumanDuration,
    /// How far before the incident log lines are read.
    pub log_lookback: HumanDuration,
    /// Most log lines read in one step.
    pub log_lines: u32,
    /// How far before the incident metrics are read: what they usually are is learned from the first third of it.
    pub metric_lookback: HumanDuration,
    /// Distance of the points of a metric.
    pub metric_step: HumanDuration,
    /// A change (a deployment) counts as recent within this before the symptom began.
    pub change_window: HumanDuration,
    /// A rise of traffic counts as coming before the symptom within this.
    pub traffic_window: HumanDuration,
    /// How long a proposal can be granted.
    pub proposal_ttl: HumanDuration,
    /// Most replicas that are ever proposed.
    pub max_replicas: u32,
    /// Out-of-memory lines below this count explain nothing.
    pub oom_lines: u32,
    /// Label matchers that may select a service's series; all are asked, the first that has series answers. `$service` is
    /// the service's name, `$service_re` the same as a regular expression. A matcher for the namespace is added.
    pub selectors: Vec<String>,
    #[serde(deserialize_with = "partial::memory")]
    pub memory: SymptomSettings,
    #[serde(deserialize_with = "partial::cpu")]
    pub cpu: SymptomSettings,
    #[serde(deserialize_with = "partial::errors")]
    pub errors: SymptomSettings,
    #[serde(deserialize_with = "partial::latency")]
    pub latency: SymptomSettings,
    #[serde(deserialize_with = "partial::availability")]
    pub availability: SymptomSettings,
    /// PromQL for requests per second, asked in order until one has series. `$selector` stands for the label matchers.
    pub traffic: Vec<String>,
    /// A language model for wording; off unless it has a `url`.
    pub model: ModelSettings,
}

/// How one kind of symptom is measured. Higher is worse.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SymptomSettings {
    /// PromQL for the level that `warning` and `critical` speak of, asked in order until one has series. `$selector` stands
    /// for the label matchers.
    pub level: Vec<String>,
    /// PromQL that only shows when something began to rise, asked where no `level` has series.
    pub trend: Vec<String>,
    /// A level from here on is a warning.
    pub warning: f64,
    /// A level from here on is critical.
    pub critical: f64,
}

/// A table that says only some of its keys keeps the symptom's own values for the others.
mod partial {
    use serde::{Deserialize, Deserializer};

    use super::{AgentSettings, SymptomSettings};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Partial {
        level: Option<Vec<String>>,
        trend: Option<Vec<String>>,
        warning: Option<f64>,
        critical: Option<f64>,
    }

    fn over<'de, D: Deserializer<'de>>(own: SymptomSettings, deserializer: D) -> Result<SymptomSettings, D::Error> {
        let said = Partial::deserialize(deserializer)?;
        Ok(SymptomSettings {
            level: said.level.unwrap_or(own.level),
            trend: said.trend.unwrap_or(own.trend),
            warning: said.warning.unwrap_or(own.warning),
            critical: said.critical.unwrap_or(own.critical),
        })
    }

    macro_rules! of {
        ($($symptom:ident),+) => { $(
            pub fn $symptom<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SymptomSettings, D::Error> {
                over(AgentSettings::default().$symptom, deserializer)
            }
        )+ };
    }

    of!(memory, cpu, errors, latency, availability);
}

impl SymptomSettings {
    fn new(level: &[&str], trend: &[&str], warning: f64, critical: f64) -> Self {
        SymptomSettings {
            level: owned(level),
            trend: owned(trend),
            warning,
            critical,
        }
    }
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

impl Default for AgentSettings {
    fn default() -> Self {
        AgentSettings {
            step_timeout: HumanDuration::from_secs(60),
            call_timeout: HumanDuration::from_secs(10),
            log_lookback: HumanDuration::from_secs(15 * 60),
            log_lines: 2_000,
            metric_lookback: HumanDuration::from_secs(60 * 60),
            metric_step: HumanDuration::from_secs(60),
            change_window: HumanDuration::from_secs(60 * 60),
            traffic_window: HumanDuration::from_secs(30 * 60),
            proposal_ttl: HumanDuration::from_secs(15 * 60),
            max_replicas: 10,
            oom_lines: 3,
            selectors: owned(&[
                r#"pod=~"$service_re-[a-z0-9]+(-[a-z0-9]+)?""#,
                r#"service="$service""#,
                r#"app="$service""#,
                r#"container="$service""#,
                r#"job="$service""#,
            ]),
            memory: SymptomSettings::new(
                &[
                    r#"max(max by (pod) (container_memory_working_set_bytes{$selector}) / on (pod) (max by (pod) (kube_pod_container_resource_limits{resource="memory",$selector}) > 0))"#,
                    r#"max(max by (pod) (container_memory_working_set_bytes{$selector}) / on (pod) (max by (pod) (container_spec_memory_limit_bytes{$selector}) > 0))"#,
                    r#"max(max by (pod) (container_memory_usage_bytes{$selector}) / on (pod) (max by (pod) (container_spec_memory_limit_bytes{$selector}) > 0))"#,
                ],
                &[
                    r#"max(container_memory_working_set_bytes{$selector})"#,
                    r#"max(container_memory_usage_bytes{$selector})"#,
                    r#"max(process_resident_memory_bytes{$selector})"#,
                ],
                0.8,
                0.9,
            ),
            cpu: SymptomSettings::new(
                &[
                    r#"max(sum by (pod) (rate(container_cpu_usage_seconds_total{$selector}[5m])) / on (pod) (sum by (pod) (kube_pod_container_resource_limits{resource="cpu",$selector}) > 0))"#,
                ],
                &[
                    r#"sum(rate(container_cpu_usage_seconds_total{$selector}[5m]))"#,
                    r#"sum(rate(process_cpu_seconds_total{$selector}[5m]))"#,
                ],
                0.8,
                0.95,
            ),
            errors: SymptomSettings::new(
                &[
                    r#"sum(rate(http_requests_total{status=~"5..",$selector}[5m])) / (sum(rate(http_requests_total{$selector}[5m])) > 0)"#,
                    r#"sum(rate(http_requests_total{code=~"5..",$selector}[5m])) / (sum(rate(http_requests_total{$selector}[5m])) > 0)"#,
                    r#"sum(rate(http_server_requests_seconds_count{status=~"5..",$selector}[5m])) / (sum(rate(http_server_requests_seconds_count{$selector}[5m])) > 0)"#,
                    r#"sum(rate(http_server_request_duration_seconds_count{http_response_status_code=~"5..",$selector}[5m])) / (sum(rate(http_server_request_duration_seconds_count{$selector}[5m])) > 0)"#,
                ],
                &[],
                0.01,
                0.05,
            ),
            latency: SymptomSettings::new(
                &[
                    r#"histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{$selector}[5m])))"#,
                    r#"histogram_quantile(0.99, sum by (le) (rate(http_server_requests_seconds_bucket{$selector}[5m])))"#,
                    r#"histogram_quantile(0.99, sum by (le) (rate(http_server_request_duration_seconds_bucket{$selector}[5m])))"#,
                ],
                &[],
                1.0,
                3.0,
            ),
            availability: SymptomSettings::new(&[r#"1 - avg(up{$selector})"#], &[], 0.01, 0.5),
            traffic: owned(&[
                r#"sum(rate(http_requests_total{$selector}[5m]))"#,
                r#"sum(rate(http_server_requests_seconds_count{$selector}[5m]))"#,
                r#"sum(rate(http_server_request_duration_seconds_count{$selector}[5m]))"#,
            ]),
            model: ModelSettings::default(),
        }
    }
}

impl AgentSettings {
    /// Every fault of these settings, each with its remedy; empty when they can be used.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, span) in [
            ("step_timeout", self.step_timeout),
            ("call_timeout", self.call_timeout),
            ("log_lookback", self.log_lookback),
            ("metric_lookback", self.metric_lookback),
            ("metric_step", self.metric_step),
            ("change_window", self.change_window),
            ("traffic_window", self.traffic_window),
            ("proposal_ttl", self.proposal_ttl),
        ] {
            if span.get().is_zero() || span.get() > Self::LONGEST {
                faults.push(format!("{name} is {span}: set a span of more than 0s and at most 7d"));
            }
        }
        if self.metric_lookback.get() < self.metric_step.get().saturating_mul(15) {
            faults.push(format!(
                "metric_lookback ({}) holds fewer than 15 points {} apart, too few to know what is usual: lengthen it, or shorten metric_step",
                self.metric_lookback, self.metric_step
            ));
        }
        for (name, number) in [
            ("log_lines", self.log_lines),
            ("max_replicas", self.max_replicas),
            ("oom_lines", self.oom_lines),
        ] {
            if number == 0 {
                faults.push(format!("{name} is 0: set at least 1"));
            }
        }
        if self.selectors.is_empty() {
            faults.push("selectors is empty, so no series could be found: leave it out for the usual ones".to_owned());
        }
        for (at, selector) in self.selectors.iter().enumerate() {
            if let Err(problem) = expression::check_selector(selector) {
                faults.push(format!("selectors[{at}] ({selector}): {problem}"));
            }
        }
        for (name, symptom) in [
            ("memory", &self.memory),
            ("cpu", &self.cpu),
            ("errors", &self.errors),
            ("latency", &self.latency),
            ("availability", &self.availability),
        ] {
            check_all(&format!("{name}.level"), &symptom.level, &mut faults);
            check_all(&format!("{name}.trend"), &symptom.trend, &mut faults);
            let ordered = symptom.warning > 0.0 && symptom.warning <= symptom.critical && symptom.critical.is_finite();
            if !ordered {
                faults.push(format!(
                    "{name}: warning ({}) and critical ({}) must be numbers above 0, warning not above critical",
                    symptom.warning, symptom.critical
                ));
            }
        }
        check_all("traffic", &self.traffic, &mut faults);
        faults.extend(self.model.faults().into_iter().map(|fault| format!("model.{fault}")));
        faults
    }

    /// Longer spans are mistakes of a unit, and would pass what a calendar time can hold.
    const LONGEST: std::time::Duration = std::time::Duration::from_secs(7 * 86_400);
}

fn check_all(name: &str, expressions: &[String], faults: &mut Vec<String>) {
    for (at, expression) in expressions.iter().enumerate() {
        if let Err(problem) = expression::check(expression) {
            faults.push(format!("{name}[{at}] ({expression}): {problem}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let check = |change: &dyn Fn(&mut AgentSettings), expected: &str| {
            let mut settings = AgentSettings::default();
            change(&mut settings);
            let faults = settings.faults();
            assert!(
                faults.len() == 1 && faults[0].contains(expected),
                "{expected}: {faults:?}"
            );
        };
        assert_eq!(AgentSettings::default().faults(), Vec::<String>::new());
        check(&|s| s.call_timeout = HumanDuration::from_secs(0), "call_timeout is 0s");
        check(
            &|s| s.proposal_ttl = HumanDuration::from_secs(8 * 86_400),
            "proposal_ttl is 8d",
        );
        check(
            &|s| s.metric_step = HumanDuration::from_secs(300),
            "fewer than 15 points",
        );
        check(&|s| s.max_replicas = 0, "max_replicas is 0");
        check(&|s| s.selectors.clear(), "selectors is empty");
        check(&|s| s.selectors[1] = "service=$service".into(), "selectors[1]");
        check(
            &|s| s.selectors[1] = "team=\"a\"".into(),
            "neither $service nor $service_re",
        );
        check(&|s| s.memory.level[0] = "max(x)".into(), "memory.level[0]");
        check(&|s| s.traffic[0] = "sum(x{$selektor})".into(), "$selektor");
        check(&|s| s.cpu.warning = 0.99, "warning not above critical");
        check(&|s| s.model.url = "http://localhost/v1".into(), "model.model is empty");
    }

    #[test]
    fn written_and_read_back() {
        let settings = AgentSettings::default();
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<AgentSettings>(&json).unwrap(), settings);
        assert!(serde_json::from_str::<AgentSettings>(r#"{"cal_timeout":"1s"}"#).is_err());
    }
}
