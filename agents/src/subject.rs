//! What an incident is about: the service and the namespace, from structured labels alone.

use chrono::{DateTime, Utc};
use model::evidence::Citation;
use model::investigation::Evidence;
use model::{Member, Suspect};

use crate::symptom::Symptom;
use crate::text;

/// Service and place of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    pub service: Option<&'a str>,
    /// Where every member of the service that names a namespace names the same.
    pub namespace: Option<&'a str>,
    /// Members name several namespaces: none of them is acted in.
    pub ambiguous: bool,
    pub symptom: Option<Symptom>,
    /// When the earliest member began.
    pub began_at: DateTime<Utc>,
}

impl<'a> Subject<'a> {
    pub fn of(evidence: &'a Evidence) -> Self {
        let members = &evidence.members;
        let service = evidence
            .incident
            .service
            .as_deref()
            .or_else(|| members.iter().find_map(|member| member.service.as_deref()))
            .filter(|service| !service.is_empty());
        let mut namespaces: Vec<&str> = members
            .iter()
            .filter(|member| member.service.as_deref() == service)
            .filter_map(|member| member.namespace.as_deref())
            .collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let titles = members
            .iter()
            .map(|member| member.title.as_str())
            .chain([evidence.incident.title.as_str()]);
        Subject {
            service,
            namespace: if namespaces.len() == 1 {
                namespaces.first().copied()
            } else {
                None
            },
            ambiguous: namespaces.len() > 1,
            symptom: Symptom::of(titles, service),
            began_at: evidence.incident.created_at,
        }
    }
}

/// Whether `name` can be an object of Kubernetes: a DNS label or subdomain (RFC 1123).
pub fn kubernetes_name(name: &str) -> bool {
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| plain(b) || b == b'-')
            && label.bytes().next().is_some_and(plain)
            && label.bytes().next_back().is_some_and(plain)
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A member as evidence.
pub fn cite_member(member: &Member) -> Citation {
    let excerpt = format!(
        "{} ({}, {}, from {})",
        text::line(&member.title, 200),
        member.severity,
        text::line(member.service.as_deref().unwrap_or("no service"), 80),
        text::line(&member.source, 40),
    );
    let span = (member.starts_at, member.ends_at.unwrap_or(member.starts_at));
    Citation::new("signal", format!("signal {}", member.signal), span, &excerpt)
}

/// A change as evidence.
pub fn cite_change(suspect: &Suspect) -> Citation {
    let excerpt = format!(
        "{} of {} (from {})",
        text::line(&suspect.title, 200),
        text::line(&suspect.service, 80),
        text::line(&suspect.source, 40),
    );
    Citation::new(
        "change",
        format!("signal {}", suspect.signal),
        (suspect.at, suspect.at),
        &excerpt,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let check = |name: &str, expected: bool| assert_eq!(kubernetes_name(name), expected, "{name:?}");
        check("api-server", true);
        check("a.b-c.d1", true);
        for name in [
            "", "-a", "a-", "A", "a b", "a/b", "a;rm", "a..b", "ä", "--all", "a\n", "a=b",
        ] {
            check(name, false);
        }
        check(&"x".repeat(64), false);
    }
}
