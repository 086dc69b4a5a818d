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

/// The namespace in which the sender put `service`. None where it named none, several, or one that cannot be read back.
pub fn namespace_of(links: &[Link], service: Option<&str>) -> Option<String> {
    let service = service?;
    let mut named = links.iter().filter_map(|link| {
        let place = link
            .key
            .strip_prefix("service:")
            .filter(|_| link.rule == Rule::Service)?;
        let (_, namespace) = place.strip_suffix(service)?.strip_suffix('/')?.split_once('/')?;
        Some(namespace).filter(|name| !name.is_empty() && !name.contains('/'))
    });
    let first = named.next()?;
    named.all(|other| other == first).then(|| first.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_read_back_from_links() {
        let check = |keys: &[&str], expected: Option<&str>| {
            let links: Vec<Link> = keys
                .iter()
                .map(|key| Link {
                    rule: Rule::Service,
                    key: (*key).to_owned(),
                })
                .collect();
            assert_eq!(namespace_of(&links, Some("api")).as_deref(), expected, "{keys:?}");
        };
        check(&["service:eu/production/api"], Some("production"));
        check(
            &["service:/production/api", "service:eu/production/api"],
            Some("production"),
        );
        check(&["service:eu//api"], None);
        check(&["service:eu/production/api", "service:eu/staging/api"], None);
        check(&["service:eu/production/other"], None);
        check(&["service:a/b/production/api"], None);
        check(&[], None);
    }
}
