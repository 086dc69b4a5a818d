//! The mark of an attempt on what it wrote: a label on a ticket, the last line of a comment.
//!
//! Comments are listed as they stand. Tickets are not: Jira Cloud's search shows a new one seconds later. A ticket that the search does
//! not show yet has a number behind those that it shows, and is read by its key at once: so those numbers are tried one by one.
//!
//! ```text
//! search labels = mark ──► found
//!        └ none: newest shown OPS-41 ─► GET OPS-42, OPS-43, … until MISSING in a row are not there
//! ```

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Site, document, quoted, time};
use crate::wire::Failure;

/// How far the clocks of Jira and of this machine may differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// Numbers tried behind the newest that the search shows. A project that gets more tickets in seconds is not written to.
const TRIED: u64 = 20;
/// Numbers in a row that are not there: the end. One alone may be a ticket that was moved, or that the user may not see.
const MISSING: u32 = 3;
/// Comments of one page, and pages looked through.
const PAGE: usize = 100;
const PAGES: usize = 10;

/// The label of a ticket that `attempt` wrote.
pub(super) fn label(attempt: Uuid) -> String {
    format!("aegis-{attempt}")
}

/// A comment with its mark.
pub(super) fn marked(body: &str, attempt: Uuid) -> String {
    format!("{}\n\n{}", body.trim_end(), line(attempt))
}

fn line(attempt: Uuid) -> String {
    format!("Aegis attempt {attempt}")
}

/// Keys of the tickets of a project that `attempt` wrote.
pub(super) async fn tickets(site: &Site, project: &str, attempt: Uuid) -> Result<Vec<String>, Failure> {
    let (label, quoted_project) = (label(attempt), quoted(project));
    let jql = format!(
        "project in ({quoted_project}) AND labels = {} ORDER BY created DESC",
        quoted(&label)
    );
    let found: Keys = site.search(&jql, "labels", 5).await?;
    if !found.issues.is_empty() {
        return Ok(found.issues.into_iter().map(|issue| issue.key).collect());
    }
    let jql = format!("project in ({quoted_project}) ORDER BY created DESC");
    let newest: Keys = site.search(&jql, "labels", 1).await?;
    let shown = newest.issues.first().and_then(|issue| number(&issue.key)).unwrap_or(0);
    let (mut marked, mut missing) = (Vec::new(), 0);
    for number in shown + 1..=shown + TRIED {
        let key = format!("{project}-{number}");
        let issue: Result<Key, _> = site.get(&format!("/issue/{key}"), &[("fields", "labels")]).await;
        match issue {
            Ok(issue) => {
                missing = 0;
                if issue.fields.labels.contains(&label) {
                    marked.push(key);
                }
            }
            Err(Failure::Status { status: 404, .. }) => missing += 1,
            Err(failure) => return Err(failure),
        }
        if missing == MISSING {
            return Ok(marked);
        }
    }
    match marked.is_empty() {
        false => Ok(marked),
        true => Err(Failure::TooMany { limit: TRIED as usize }),
    }
}

/// Ids of the comments below a ticket that `attempt` wrote after `since`.
pub(super) async fn comments(
    site: &Site,
    key: &str,
    attempt: Uuid,
    since: DateTime<Utc>,
) -> Result<Vec<String>, Failure> {
    let (line, from) = (line(attempt), since - SKEW);
    let mut found = Vec::new();
    for page in 0..PAGES {
        let start = (page * PAGE).to_string();
        let parameters = [
            ("orderBy", "-created"),
            ("startAt", start.as_str()),
            ("maxResults", "100"),
        ];
        let listed: Comments = site.get(&format!("/issue/{key}/comment"), &parameters).await?;
        let (count, total) = (listed.comments.len(), listed.total);
        let older = listed
            .comments
            .iter()
            .any(|comment| comment.created.as_deref().and_then(time).is_some_and(|at| at < from));
        let bears = |comment: &Comment| document::text(&comment.body).lines().any(|text| text.trim() == line);
        found.extend(listed.comments.into_iter().filter(bears).map(|comment| comment.id));
        if older || count == 0 || page * PAGE + count >= total {
            return Ok(found);
        }
    }
    Err(Failure::TooMany { limit: PAGE * PAGES })
}

fn number(key: &str) -> Option<u64> {
    key.rsplit_once('-')?.1.parse().ok()
}

#[derive(Deserialize)]
struct Keys {
    issues: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    key: String,
    fields: Labels,
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    labels: Vec<String>,
}

#[derive(Deserialize)]
struct Comments {
    comments: Vec<Comment>,
    total: usize,
}

#[derive(Deserialize)]
struct Comment {
    id: String,
    body: Value,
    created: Option<String>,
}
