//! Levels and curves of a service, by the first expression that has series.

use chrono::{DateTime, TimeDelta, Utc};
use model::evidence::Citation;
use tools::observe::{Point, Series};

use crate::expression::{Selection, fill};
use crate::gather::{Asked, Gather, Miss};
use crate::settings::AgentSettings;
use crate::subject::Subject;

/// Most points of a curve. More cost time on both sides and show nothing new.
const POINTS: i64 = 1_000;

/// Most points of a curve that a finding carries, for who draws it.
const DRAWN: usize = 60;

/// A value at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    pub expression: String,
    pub at: DateTime<Utc>,
    pub value: f64,
}

/// Values over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub expression: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub points: Vec<Point>,
}

impl Level {
    pub fn cite(&self, shown: &str) -> Citation {
        Citation::new("prometheus", &self.expression, (self.at, self.at), shown)
    }
}

impl Curve {
    /// `[[seconds since the epoch, value], …]`, oldest first: of each stretch of equal length the highest value, so that no peak is lost.
    pub fn drawn(&self) -> Vec<(i64, f64)> {
        let stretch = self.points.len().div_ceil(DRAWN).max(1);
        let highest = |points: &[Point]| {
            points
                .iter()
                .copied()
                .max_by(|one, other| one.value.total_cmp(&other.value))
        };
        let drawn = self.points.chunks(stretch).filter_map(highest);
        drawn.map(|point| (point.at.timestamp(), point.value)).collect()
    }

    pub fn cite(&self, shown: &str) -> Citation {
        Citation::new("prometheus", &self.expression, (self.from, self.to), shown)
    }
}

/// The level now, the highest where there are several series. `None`: no expression has series.
pub async fn level(
    gather: &mut Gather<'_>,
    expressions: &[String],
    settings: &AgentSettings,
    subject: &Subject<'_>,
    at: DateTime<Utc>,
) -> Asked<Option<Level>> {
    let mut refused = None;
    for template in expressions {
        let expression = filled(template, settings, subject)?;
        let series = match gather.instant(&expression, at).await {
            Ok(series) => series,
            Err(Miss::Refused(cause)) => {
                refused = Some(Miss::Refused(cause));
                continue;
            }
            Err(miss) => return Err(miss),
        };
        let points: Vec<Point> = series.iter().filter_map(|one| one.points.last().copied()).collect();
        if points.is_empty() {
            continue;
        }
        // A ratio of nothing is NaN, which says nothing; the next expression may say more.
        let highest = points
            .iter()
            .map(|point| point.value)
            .filter(|value| value.is_finite())
            .reduce(f64::max);
        match highest {
            Some(value) => return Ok(Some(Level { expression, at, value })),
            None => refused = Some(Miss::Refused("the metric store answered what is no number".to_owned())),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// The curve of the series that ends highest. `None`: no expression has series.
pub async fn curve(
    gather: &mut Gather<'_>,
    expressions: &[String],
    settings: &AgentSettings,
    subject: &Subject<'_>,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Asked<Option<Curve>> {
    let step = span(settings.metric_step.get()).max((to - from) / i32::try_from(POINTS).unwrap_or(i32::MAX));
    let mut refused = None;
    for template in expressions {
        let expression = filled(template, settings, subject)?;
        let series = match gather.range(&expression, (from, to), step).await {
            Ok(series) => series,
            Err(Miss::Refused(cause)) => {
                refused = Some(Miss::Refused(cause));
                continue;
            }
            Err(miss) => return Err(miss),
        };
        if let Some(points) = highest(series, (from, to)) {
            return Ok(Some(Curve {
                expression,
                from,
                to,
                points,
            }));
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Points outside the span that was asked for are no answer to it.
fn highest(series: Vec<Series>, (from, to): (DateTime<Utc>, DateTime<Utc>)) -> Option<Vec<Point>> {
    let usable = |mut one: Series| {
        one.points
            .retain(|point| point.value.is_finite() && from <= point.at && point.at <= to);
        let last = one.points.iter().max_by_key(|point| point.at)?.value;
        Some((last, one.points))
    };
    series
        .into_iter()
        .filter_map(usable)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, points)| points)
}

fn filled(template: &str, settings: &AgentSettings, subject: &Subject<'_>) -> Asked<String> {
    let Some(service) = subject.service else {
        return Err(Miss::Absent("the incident names no service".to_owned()));
    };
    let of = Selection {
        service,
        namespace: subject.namespace,
    };
    fill(template, &settings.selectors, &of)
        .ok_or_else(|| Miss::Absent("the incident's service has no usable name".to_owned()))
}

/// Spans of settings are at most days: see [`AgentSettings::faults`].
pub fn span(length: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(length).unwrap_or(TimeDelta::days(7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_curve_is_short_and_keeps_its_peak() {
        let at = |n: i64| DateTime::from_timestamp(1_795_478_400 + n * 60, 0).unwrap();
        let curve = |count: i64| Curve {
            expression: "x".to_owned(),
            from: at(0),
            to: at(count),
            points: (0..count)
                .map(|n| Point {
                    at: at(n),
                    value: if n == 137 { 99.0 } else { (n % 7) as f64 },
                })
                .collect(),
        };
        let drawn = curve(1_000).drawn();
        assert!(drawn.len() <= DRAWN && drawn.len() > DRAWN / 2, "{}", drawn.len());
        assert!(drawn.contains(&(at(137).timestamp(), 99.0)));
        assert!(drawn.is_sorted_by_key(|(at, _)| *at));
        assert_eq!(curve(3).drawn().len(), 3);
        assert!(curve(0).drawn().is_empty());
    }
}
