//! Resources: runbooks, incidents, their timelines and postmortems.
//!
//! ```text
//! aegis://runbooks/PATH.md                 text/markdown
//! aegis://incidents/ID                     application/json, as get_incident answers
//! aegis://incidents/ID/timeline            text/markdown
//! aegis://incidents/ID/postmortem          text/markdown, once it is written
//! ```

use gateway::{IncidentFilter, IncidentView, Page};
use rmcp::model::{ErrorData, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};

use crate::answer::{self, Failure};
use crate::desk::Desk;
use crate::tools::{evidence, incidents};
use crate::{markdown, page};

const MARKDOWN: &str = "text/markdown";
const JSON: &str = "application/json";
/// Incidents, or runbooks, of a page.
const PAGE: u32 = 50;

pub fn templates() -> Vec<ResourceTemplate> {
    let template = |uri: &str, name: &str, title: &str, description: &str, form: &str| {
        ResourceTemplate::new(uri, name)
            .with_title(title)
            .with_description(description)
            .with_mime_type(form)
    };
    vec![
        template(
            "aegis://incidents/{incident_id}",
            "incident",
            "Incident",
            "An incident with its alerts and what happened to it.",
            JSON,
        ),
        template(
            "aegis://incidents/{incident_id}/timeline",
            "timeline",
            "Timeline",
            "What happened to an incident, in order.",
            MARKDOWN,
        ),
        template(
            "aegis://incidents/{incident_id}/postmortem",
            "postmortem",
            "Postmortem",
            "The report about a closed incident, each sentence with its evidence.",
            MARKDOWN,
        ),
        template(
            "aegis://runbooks/{+path}",
            "runbook",
            "Runbook",
            "What the people who run these services wrote down.",
            MARKDOWN,
        ),
    ]
}

/// A page: the runbooks come first, then incidents with their timelines and postmortems, newest first.
pub async fn list(desk: &Desk, cursor: Option<&str>) -> Result<(Vec<Resource>, Option<String>), ErrorData> {
    let wrong = |why| ErrorData::invalid_params(why, None);
    if let Some(cursor) = cursor.filter(|cursor| cursor.starts_with("incidents.")) {
        let offset = page::place("incidents", Some(cursor)).map_err(wrong)?;
        return of_incidents(desk, offset).await;
    }
    let offset = page::place("runbooks", cursor).map_err(wrong)? as usize;
    let runbooks = desk.runbooks.list().await.map_err(|error| unreadable(&error))?;
    let listed: Vec<Resource> = runbooks
        .iter()
        .skip(offset)
        .take(PAGE as usize)
        .map(|runbook| {
            Resource::new(
                format!("aegis://runbooks/{}", encoded(&runbook.name)),
                runbook.name.clone(),
            )
            .with_title(runbook.name.clone())
            .with_mime_type(MARKDOWN)
            .with_size(runbook.size)
        })
        .collect();
    let next = offset + listed.len();
    if next < runbooks.len() {
        return Ok((listed, Some(page::cursor("runbooks", next as u32))));
    }
    if !listed.is_empty() {
        return Ok((listed, Some(page::cursor("incidents", 0))));
    }
    of_incidents(desk, 0).await
}

async fn of_incidents(desk: &Desk, offset: u32) -> Result<(Vec<Resource>, Option<String>), ErrorData> {
    let wanted = Page {
        limit: PAGE + 1,
        offset,
    };
    let found = desk.incidents.incidents(&IncidentFilter::default(), wanted).await;
    let found = found.map_err(|error| Failure::from(error).protocol())?;
    let more = found.len() > PAGE as usize && offset + PAGE <= page::FURTHEST;
    let mut resources = Vec::new();
    for incident in found.iter().take(PAGE as usize) {
        resources.extend(of_incident(desk, incident)?);
    }
    Ok((resources, more.then(|| page::cursor("incidents", offset + PAGE))))
}

fn of_incident(desk: &Desk, incident: &IncidentView) -> Result<Vec<Resource>, ErrorData> {
    let id = incident.id;
    let title = answer::text(desk, incident.title.clone()).map_err(Failure::protocol)?;
    let about = format!(
        "{} {} of {}",
        incident.severity.as_str(),
        incident.status.as_str(),
        incident.created_at.to_rfc3339()
    );
    let resource = |suffix: &str, name: &str, form: &str| {
        Resource::new(format!("aegis://incidents/{id}{suffix}"), format!("{name} {id}"))
            .with_title(format!("{name}: {title}"))
            .with_description(about.clone())
            .with_mime_type(form)
    };
    let mut resources = vec![
        resource("", "Incident", JSON),
        resource("/timeline", "Timeline", MARKDOWN),
    ];
    // The postmortem's root cause is the incident's.
    if incident.root_cause.is_some() {
        resources.push(resource("/postmortem", "Postmortem", MARKDOWN));
    }
    Ok(resources)
}

/// The contents of `uri`.
pub async fn read(desk: &Desk, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let missing = || {
        ErrorData::resource_not_found(
            format!("there is no resource {uri}: resources/list and its templates show which there are"),
            None,
        )
    };
    let (form, text) = if let Some(path) = uri.strip_prefix("aegis://runbooks/") {
        let name = decoded(path).ok_or_else(missing)?;
        let read = desk.runbooks.read(&name).await.map_err(|error| unreadable(&error))?;
        (MARKDOWN, read.ok_or_else(missing)?)
    } else if let Some(rest) = uri.strip_prefix("aegis://incidents/") {
        let (id, part) = rest.split_once('/').unwrap_or((rest, ""));
        match part {
            "" => {
                let arguments = incidents::OneArguments {
                    incident_id: id.to_owned(),
                    limit: None,
                };
                let answer = incidents::one(desk, &arguments).await;
                let answer = answer.map_err(|failure| not_found(failure, missing()))?;
                let text = answer::json_text(desk, answer::json(answer)).map_err(Failure::protocol)?;
                return Ok(ReadResourceResult::new(vec![
                    ResourceContents::text(text, uri).with_mime_type(JSON),
                ]));
            }
            "timeline" => {
                let detail = incidents::find(desk, id)
                    .await
                    .map_err(|failure| not_found(failure, missing()))?;
                (MARKDOWN, markdown::timeline(&detail))
            }
            "postmortem" => {
                let detail = incidents::find(desk, id)
                    .await
                    .map_err(|failure| not_found(failure, missing()))?;
                let report = evidence::postmortem(desk, detail.incident.id.0)
                    .await
                    .map_err(Failure::protocol)?;
                (MARKDOWN, markdown::postmortem(id, &report.ok_or_else(missing)?))
            }
            _ => return Err(missing()),
        }
    } else {
        return Err(missing());
    };
    let text = answer::text(desk, text).map_err(Failure::protocol)?;
    Ok(ReadResourceResult::new(vec![
        ResourceContents::text(text, uri).with_mime_type(form),
    ]))
}

fn not_found(failure: Failure, missing: ErrorData) -> ErrorData {
    match failure {
        Failure::Wrong(_) => missing,
        other => other.protocol(),
    }
}

fn unreadable(error: &std::io::Error) -> ErrorData {
    tracing::warn!(%error, "the runbooks were not read");
    ErrorData::internal_error("the folder of runbooks (mcp.runbooks) cannot be read", None)
}

/// A path within a URI (RFC 3986: unreserved letters and `/` as they are).
fn encoded(path: &str) -> String {
    let letter = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    path.bytes().map(letter).collect()
}

fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runbooks_survive_their_way_through_a_uri() {
        for name in ["oom.md", "db/Fail over (α).md", "100%.md", "a+b&c?.md"] {
            let uri = encoded(name);
            assert!(uri.is_ascii() && !uri.contains([' ', '?', '&']), "{uri}");
            assert_eq!(decoded(&uri).as_deref(), Some(name));
        }
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }
}
