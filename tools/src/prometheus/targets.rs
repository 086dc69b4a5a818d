//! Targets: <https://prometheus.io/docs/prometheus/latest/querying/api/#targets>.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::shown;
use crate::observe::{Target, TargetAnswer, TargetQuery};
use crate::redact::{redact, shorten};

pub(super) fn read(found: Targets, query: &TargetQuery) -> TargetAnswer {
    let of_job = |target: &Target| query.job.as_ref().is_none_or(|job| *job == target.job);
    let mut targets: Vec<Target> = found
        .active_targets
        .into_iter()
        .map(Active::told)
        .filter(of_job)
        .collect();
    targets.sort_by(|a, b| (&a.job, &a.instance).cmp(&(&b.job, &b.instance)));
    let count = |health: &str| {
        let counted = targets.iter().filter(|target| target.health == health).count();
        u32::try_from(counted).unwrap_or(u32::MAX)
    };
    let (up, down) = (count("up"), count("down"));
    targets.retain(|target| !query.broken || target.health != "up");
    TargetAnswer { targets, up, down }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Targets {
    active_targets: Vec<Active>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Active {
    labels: BTreeMap<String, String>,
    health: String,
    last_error: Option<String>,
    last_scrape: Option<DateTime<Utc>>,
}

impl Active {
    fn told(self) -> Target {
        let label = |name: &str| self.labels.get(name).cloned().unwrap_or_default();
        Target {
            job: label("job"),
            instance: label("instance"),
            health: shorten(&self.health, 40),
            last_error: self
                .last_error
                .filter(|error| !error.is_empty())
                .map(|error| shorten(&redact(&error), 300)),
            // Never scraped: the year 1.
            scraped_at: self.last_scrape.filter(|at| at.timestamp() > 0),
            labels: shown(self.labels),
        }
    }
}
