//! The query string of `/api/v1/incidents`. Unknown and repeated parameters are refused: a misspelt filter must not
//! show everything.

use axum::extract::Query;
use axum::http::Uri;
use chrono::{DateTime, Utc};
use model::{IncidentId, Severity, Status};
use uuid::Uuid;

use crate::problem::Problem;
use crate::reads::{IncidentFilter, Page};
use crate::responses::ResponseFilter;
use crate::silences::SilenceFilter;

const DEFAULT_LIMIT: u32 = 50;
/// Higher: answers of many megabytes.
const MAX_LIMIT: u32 = 500;
/// Higher: the store walks over more rows to throw them away.
const MAX_OFFSET: u32 = 100_000;

const STATUSES: &[Status] = &[Status::Open, Status::Investigating, Status::Resolved];

pub fn parse(query: &str) -> Result<(IncidentFilter, Page), Problem> {
    let mut filter = IncidentFilter::default();
    let mut paging = Paging::default();
    for (name, value) in pairs(query)? {
        let field = name.as_str();
        let repeated = match field {
            "status" => {
                let status = STATUSES.iter().copied().find(|status| status.as_str() == value);
                let unknown = || Problem::bad(field, format!("{value:?} is none of open, investigating, resolved"));
                filter.status.replace(status.ok_or_else(unknown)?).is_some()
            }
            "severity" => {
                let severity: Severity = value.parse().map_err(|error: String| Problem::bad(field, error))?;
                filter.severity.replace(severity).is_some()
            }
            "service" => filter.service.replace(value).is_some(),
            "text" if value.len() > MAX_TEXT => {
                let detail = format!("it has {} bytes, at most {MAX_TEXT} are taken", value.len());
                return Err(Problem::bad(field, detail));
            }
            "text" => filter.text.replace(value).is_some(),
            "since" => filter.since.replace(time(field, &value)?).is_some(),
            "until" => filter.until.replace(time(field, &value)?).is_some(),
            "limit" | "offset" => paging.take(field, &value)?,
            _ => {
                let detail = format!(
                    "unknown parameter {field:?}: known are status, severity, service, text, since, until, limit, offset"
                );
                return Err(Problem::bad(field, detail));
            }
        };
        if repeated {
            return Err(Problem::bad(field, format!("{field} is given twice")));
        }
    }
    Ok((filter, paging.page()))
}

fn time(field: &str, value: &str) -> Result<DateTime<Utc>, Problem> {
    let parsed = DateTime::parse_from_rfc3339(value);
    let bad = |_| {
        Problem::bad(
            field,
            format!("{value:?} is no time of RFC 3339, such as 2026-05-01T08:00:00Z"),
        )
    };
    parsed.map(|time| time.to_utc()).map_err(bad)
}

/// The query string of runs, remediations and dead letters.
pub fn response(query: &str) -> Result<(ResponseFilter, Page), Problem> {
    let mut filter = ResponseFilter::default();
    let mut paging = Paging::default();
    for (name, value) in pairs(query)? {
        let field = name.as_str();
        let repeated = match field {
            "incident" => {
                let id =
                    Uuid::parse_str(&value).map_err(|_| Problem::bad(field, format!("{value:?} is not a UUID")))?;
                filter.incident.replace(id).is_some()
            }
            "status" => filter.status.replace(value).is_some(),
            "limit" | "offset" => paging.take(field, &value)?,
            _ => {
                let detail = format!("unknown parameter {field:?}: known are incident, status, limit, offset");
                return Err(Problem::bad(field, detail));
            }
        };
        if repeated {
            return Err(Problem::bad(field, format!("{field} is given twice")));
        }
    }
    Ok((filter, paging.page()))
}

/// The query string of silences: `all` and `incident`.
pub fn silences(query: &str) -> Result<SilenceFilter, Problem> {
    let mut filter = SilenceFilter::default();
    for (name, value) in pairs(query)? {
        let field = name.as_str();
        match field {
            "all" => {
                let bad = |_| Problem::bad(field, format!("{value:?} is neither true nor false"));
                filter.all = value.parse().map_err(bad)?;
            }
            "incident" if filter.incident.is_none() => {
                let bad = |_| Problem::bad(field, format!("{value:?} is not a UUID"));
                filter.incident = Some(IncidentId(Uuid::parse_str(&value).map_err(bad)?));
            }
            "incident" => return Err(Problem::bad(field, "incident is given twice")),
            _ => {
                let detail = format!("unknown parameter {field:?}: known are all, incident");
                return Err(Problem::bad(field, detail));
            }
        }
    }
    Ok(filter)
}

/// Most past incidents that are compared for one answer.
const MAX_SIMILAR: u32 = 50;
const DEFAULT_SIMILAR: u32 = 5;
/// Most bytes of a text that is looked for.
const MAX_TEXT: usize = 4_000;

/// The query string of an incident's similar ones: `limit`.
pub fn similar(query: &str) -> Result<u32, Problem> {
    match wanted(query, &["limit"])? {
        (None, limit) => Ok(limit),
        (Some(_), _) => Err(Problem::bad("text", "the incident itself is compared")),
    }
}

/// The query string of a search: `text` and `limit`.
pub fn similar_to(query: &str) -> Result<(String, u32), Problem> {
    let (text, limit) = wanted(query, &["text", "limit"])?;
    let text = text.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| Problem::bad("text", "write the text that is looked for"))?;
    if text.len() > MAX_TEXT {
        return Err(Problem::bad("text", format!("it is longer than {MAX_TEXT} bytes")));
    }
    Ok((text, limit))
}

fn wanted(query: &str, known: &[&str]) -> Result<(Option<String>, u32), Problem> {
    let (mut text, mut limit) = (None, None);
    for (name, value) in pairs(query)? {
        let field = name.as_str();
        if !known.contains(&field) {
            let detail = format!("unknown parameter {field:?}: known are {}", known.join(", "));
            return Err(Problem::bad(field, detail));
        }
        let repeated = match field {
            "limit" => limit.replace(number(field, &value, 1, MAX_SIMILAR)?).is_some(),
            _ => text.replace(value).is_some(),
        };
        if repeated {
            return Err(Problem::bad(field, format!("{field} is given twice")));
        }
    }
    Ok((text, limit.unwrap_or(DEFAULT_SIMILAR)))
}

/// The parameters `limit` and `offset`.
#[derive(Default)]
struct Paging {
    limit: Option<u32>,
    offset: Option<u32>,
}

impl Paging {
    /// Takes one of them in; whether it was given before.
    fn take(&mut self, field: &str, value: &str) -> Result<bool, Problem> {
        let (slot, least, most) = match field {
            "limit" => (&mut self.limit, 1, MAX_LIMIT),
            _ => (&mut self.offset, 0, MAX_OFFSET),
        };
        Ok(slot.replace(number(field, value, least, most)?).is_some())
    }

    fn page(self) -> Page {
        Page {
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            offset: self.offset.unwrap_or(0),
        }
    }
}

/// Decoded names and values, in order.
fn pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let unreadable = || Problem::bad("query", "the query string cannot be decoded");
    let uri: Uri = format!("/?{query}").parse().map_err(|_| unreadable())?;
    let Query(pairs) = Query::try_from_uri(&uri).map_err(|_| unreadable())?;
    Ok(pairs)
}

fn number(field: &str, value: &str, min: u32, max: u32) -> Result<u32, Problem> {
    let number = value.parse().ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| Problem::bad(field, format!("{value:?} is not a number from {min} to {max}")))
}
