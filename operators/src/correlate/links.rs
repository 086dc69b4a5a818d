//! Link keys: what two alerts must share to belong together, and the index that finds the nearest.
//!
//! ```text
//!             gap            gap
//!        |<--------->|<------------>|
//!   a    b           N              c         starts on one link key, in event time
//!   └────┘ one component already    └ in reach
//! ```
//!
//! Linking is single linkage: it is enough to look at the nearest start on either side of N. Everything further away on
//! that side but within the gap of N is within the gap of the nearest, hence in its component. So a storm of n alerts
//! costs n searches, not n² pairs.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use model::{EpisodeId, SignalRow};
use serde::{Deserialize, Serialize};
use stream::Table;

/// Why two episodes are linked. The order is the order of preference when several rules link the same two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Rule {
    Service,
    Group,
    Alert,
}

impl Rule {
    /// Name and version, as stored with the membership.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Service => "same-service@1",
            Rule::Group => "same-group@1",
            Rule::Alert => "same-alert@1",
        }
    }
}

/// A value that links whoever shares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    pub rule: Rule,
    /// `service:CLUSTER/NAMESPACE/SERVICE`, `group:GROUP` or `alert:DEDUP_KEY`.
    pub key: String,
}

/// A link that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub rule: Rule,
    pub key: String,
    pub linked_to: EpisodeId,
    /// Microseconds between the two starts.
    pub apart: i64,
}

/// The links of a signal. An alert always links to itself: one that flaps stays in its incident.
pub fn links_of(row: &SignalRow<'_>) -> Vec<Link> {
    let mut links = Vec::with_capacity(3);
    if let Some(service) = row.service {
        let (cluster, namespace) = (row.cluster.unwrap_or_default(), row.namespace.unwrap_or_default());
        links.push(Link {
            rule: Rule::Service,
            key: format!("service:{cluster}/{namespace}/{service}"),
        });
    }
    if let Some(group) = row.group {
        links.push(Link {
            rule: Rule::Group,
            key: format!("group:{group}"),
        });
    }
    links.push(Link {
        rule: Rule::Alert,
        key: format!("alert:{}", row.dedup_key),
    });
    links
}

/// Cluster and namespace of the first service link, where they are named.
pub fn place_of(links: &[Link]) -> (Option<&str>, Option<&str>) {
    let service = links.iter().find(|link| link.rule == Rule::Service);
    let mut parts = service
        .and_then(|link| link.key.strip_prefix("service:"))
        .into_iter()
        .flat_map(|key| key.splitn(3, '/'));
    let mut named = || parts.next().filter(|part| !part.is_empty());
    (named(), named())
}

/// Starts of episodes in order, per domain and link key.
#[derive(Debug, Default)]
pub struct Index(pub Table<String, BTreeSet<(i64, EpisodeId)>>);

impl Index {
    pub fn insert(&mut self, domain: &str, link: &Link, starts_at: i64, episode: EpisodeId) {
        self.0
            .entry(slot(domain, link))
            .or_default()
            .insert((starts_at, episode));
    }

    pub fn remove(&mut self, domain: &str, link: &Link, starts_at: i64, episode: EpisodeId) {
        let slot = slot(domain, link);
        if let Some(starts) = self.0.get_mut(&slot) {
            starts.remove(&(starts_at, episode));
            if starts.is_empty() {
                self.0.remove(&slot);
            }
        }
    }

    /// The nearest other episodes on either side within `gap`, by `link`; the earlier one first.
    pub fn nearest(&self, domain: &str, link: &Link, at: (i64, EpisodeId), gap: i64) -> Vec<Evidence> {
        let Some(starts) = self.0.get(&slot(domain, link)) else {
            return Vec::new();
        };
        let before = starts.range((Unbounded, Excluded(at))).next_back();
        let after = starts.range((Excluded(at), Unbounded)).next();
        let evidence = |&(starts_at, linked_to): &(i64, EpisodeId)| Evidence {
            rule: link.rule,
            key: link.key.clone(),
            linked_to,
            apart: starts_at.abs_diff(at.0).try_into().unwrap_or(i64::MAX),
        };
        before
            .into_iter()
            .chain(after)
            .map(evidence)
            .filter(|evidence| evidence.apart <= gap)
            .collect()
    }
}

/// The length keeps a domain that contains a separator from posing as another.
fn slot(domain: &str, link: &Link) -> String {
    format!("{}:{domain}:{}", domain.len(), link.key)
}
