//! Incidents: the list, one with its timeline, and why its alerts are one incident.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use gateway::{IncidentDetail, IncidentFilter, Page};
use model::{Fact, IncidentId, Severity, Status};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{limit, uuid};
use crate::answer::Failure;
use crate::desk::Desk;
use crate::page;
use crate::views::{Alert, Moment, Summary, SuspectView, fact_of};

/// Which incidents. All conditions that are given must hold; the newest come first.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListArguments {
    /// `open`, `investigating` or `resolved`.
    #[schemars(extend("enum" = ["open", "investigating", "resolved", null]))]
    pub status: Option<String>,
    /// `critical`, `warning` or `info`.
    #[schemars(extend("enum" = ["critical", "warning", "info", null]))]
    pub severity: Option<String>,
    /// The exact name of a service.
    pub service: Option<String>,
    /// Words that title, service or root cause hold, in any case.
    pub text: Option<String>,
    /// Began at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Began before this time.
    pub until: Option<DateTime<Utc>>,
    /// Most incidents of the answer, 1 to 100; 20 where it is absent.
    pub limit: Option<u32>,
    /// `next_cursor` of the answer before.
    pub cursor: Option<String>,
}

/// A page of incidents.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListAnswer {
    pub incidents: Vec<Summary>,
    /// Where to go on; absent at the end.
    pub next_cursor: Option<String>,
}

/// One incident.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneArguments {
    /// The incident's id, a UUID.
    pub incident_id: String,
    /// Most alerts and most moments of the answer, 1 to 500; 50 where it is absent.
    #[serde(default)]
    pub limit: Option<u32>,
}

/// An incident with its timeline.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OneAnswer {
    pub incident: Summary,
    /// The earliest alerts; `incident.alerts` says how many there are.
    pub alerts: Vec<Alert>,
    /// The newest moments, oldest first.
    pub timeline: Vec<Moment>,
    /// There are earlier moments than these.
    pub earlier_moments: u32,
}

/// Why the alerts of an incident are one incident.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WhyAnswer {
    pub incident: Summary,
    /// How many alerts each rule admitted.
    pub rules: BTreeMap<String, u32>,
    /// The earliest alerts, each with a sentence that says why it belongs here.
    pub because: Vec<Because>,
    /// Changes of the same service shortly before: suspects, not verdicts.
    pub suspects: Vec<SuspectView>,
    /// Incidents that this one absorbed.
    pub absorbed: Vec<String>,
}

/// Why one alert belongs to an incident.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Because {
    pub alert: Alert,
    /// In words.
    pub why: String,
}

pub async fn list(desk: &Desk, arguments: ListArguments) -> Result<ListAnswer, Failure> {
    let limit = limit(arguments.limit, 20, 100)?;
    let offset = page::place("incidents", arguments.cursor.as_deref()).map_err(Failure::Wrong)?;
    let status = arguments.status.as_deref().map(status_of).transpose()?;
    let severity = arguments.severity.as_deref().map(severity_of).transpose()?;
    let filter = IncidentFilter {
        status,
        severity,
        service: arguments.service,
        text: arguments
            .text
            .filter(|text| !text.trim().is_empty())
            .map(|text| text.trim().to_owned()),
        since: arguments.since,
        until: arguments.until,
    };
    // One more than asked for tells whether there is more.
    let wanted = Page {
        limit: limit + 1,
        offset,
    };
    let found = desk.incidents.incidents(&filter, wanted).await?;
    let more = found.len() > limit as usize && offset + limit <= page::FURTHEST;
    Ok(ListAnswer {
        incidents: found.iter().take(limit as usize).map(Summary::from).collect(),
        next_cursor: more.then(|| page::cursor("incidents", offset + limit)),
    })
}

pub async fn one(desk: &Desk, arguments: &OneArguments) -> Result<OneAnswer, Failure> {
    let limit = limit(arguments.limit, 50, 500)? as usize;
    let detail = find(desk, &arguments.incident_id).await?;
    let earlier = detail.events.len().saturating_sub(limit);
    Ok(OneAnswer {
        incident: Summary::from(&detail.incident),
        alerts: detail.members.iter().take(limit).map(Alert::from).collect(),
        timeline: detail.events.iter().skip(earlier).map(Moment::from).collect(),
        earlier_moments: earlier as u32,
    })
}

pub async fn why(desk: &Desk, arguments: &OneArguments) -> Result<WhyAnswer, Failure> {
    let limit = limit(arguments.limit, 50, 500)? as usize;
    let detail = find(desk, &arguments.incident_id).await?;
    let mut rules = BTreeMap::new();
    for member in &detail.members {
        *rules.entry(member.rule.clone()).or_insert(0) += 1;
    }
    let because = detail.members.iter().take(limit).map(|member| {
        let alert = Alert::from(member);
        let linked = member
            .linked_to
            .and_then(|episode| detail.members.iter().find(|other| other.episode == episode));
        let why = match (&member.key, linked) {
            _ if member.rule.starts_with("opened@") => "It opened the incident.".to_owned(),
            (Some(key), Some(linked)) => format!(
                "Rule {} linked it to {:?}: both have {key}, and they started {} s apart.",
                member.rule,
                linked.title,
                member.apart_ms.unwrap_or_default().abs() / 1_000
            ),
            (Some(key), None) => format!("Rule {} admitted it: it has {key}.", member.rule),
            (None, _) => format!("Rule {} admitted it.", member.rule),
        };
        Because { alert, why }
    });
    let because = because.collect();
    let facts: Vec<Fact> = detail.events.iter().filter_map(fact_of).collect();
    let suspects = facts.iter().filter_map(|fact| match fact {
        Fact::SuspectFound { suspect } => Some(SuspectView {
            title: suspect.title.clone(),
            service: suspect.service.clone(),
            source: suspect.source.clone(),
            at: suspect.at,
            before_ms: suspect.before_ms,
        }),
        _ => None,
    });
    let absorbed = facts.iter().filter_map(|fact| match fact {
        Fact::Absorbed { other, .. } => Some(other.to_string()),
        _ => None,
    });
    Ok(WhyAnswer {
        suspects: suspects.take(limit).collect(),
        absorbed: absorbed.take(limit).collect(),
        incident: Summary::from(&detail.incident),
        rules,
        because,
    })
}

/// The incident with this id.
pub async fn find(desk: &Desk, id: &str) -> Result<IncidentDetail, Failure> {
    let id = uuid("incident_id", id)?;
    let found = desk.incidents.incident(IncidentId(id)).await?;
    found.ok_or_else(|| {
        Failure::Wrong(format!(
            "there is no incident {id}: list_incidents shows which there are"
        ))
    })
}

fn status_of(word: &str) -> Result<Status, Failure> {
    let known = [Status::Open, Status::Investigating, Status::Resolved];
    let found = known.into_iter().find(|status| status.as_str() == word);
    found.ok_or_else(|| Failure::Wrong(format!("status: {word:?} is none of open, investigating, resolved")))
}

fn severity_of(word: &str) -> Result<Severity, Failure> {
    word.parse()
        .map_err(|fault: String| Failure::Wrong(format!("severity: {fault}")))
}
