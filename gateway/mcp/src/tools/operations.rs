//! How Aegis itself is: the pipeline, dead letters, remediations.

use gateway::{Page, ResponseFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{limit, uuid};
use crate::answer::Failure;
use crate::desk::{Desk, PipelineStatus};
use crate::page;
use crate::views::{LetterLine, RemediationLine};

/// Nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// Which dead letters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LettersArguments {
    /// `open`, `replayed` or `dropped`; all of them where it is absent.
    #[schemars(extend("enum" = ["open", "replayed", "dropped", null]))]
    pub status: Option<String>,
    /// Most letters of the answer, 1 to 100; 20 where it is absent.
    pub limit: Option<u32>,
    /// `next_cursor` of the answer before.
    pub cursor: Option<String>,
}

/// A page of dead letters, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LettersAnswer {
    pub dead_letters: Vec<LetterLine>,
    /// Where to go on; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which remediations.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemediationsArguments {
    /// Only of this incident.
    pub incident_id: Option<String>,
    /// Only with this status: `waiting` for those that wait for a person.
    pub status: Option<String>,
    /// Most remediations of the answer, 1 to 100; 20 where it is absent.
    pub limit: Option<u32>,
    /// `next_cursor` of the answer before.
    pub cursor: Option<String>,
}

/// A page of remediations, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemediationsAnswer {
    pub remediations: Vec<RemediationLine>,
    /// Where to go on; absent at the end.
    pub next_cursor: Option<String>,
}

/// One remediation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemediationArguments {
    /// The remediation's id, a UUID.
    pub remediation_id: String,
}

/// A remediation in full.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RemediationAnswer {
    pub remediation: RemediationLine,
    /// The proposal in full: dry run, inverse, blast radius, citations.
    pub proposal: Value,
    /// The target before and after it was carried out.
    pub before: Value,
    pub after: Value,
}

pub async fn status(desk: &Desk, _: NoArguments) -> Result<PipelineStatus, Failure> {
    Ok(desk.overview.status().await?)
}

pub async fn letters(desk: &Desk, arguments: LettersArguments) -> Result<LettersAnswer, Failure> {
    let (limit, offset, wanted) = cut("dead_letters", arguments.limit, arguments.cursor.as_deref())?;
    if let Some(word) = arguments
        .status
        .as_deref()
        .filter(|word| !["open", "replayed", "dropped"].contains(word))
    {
        return Err(Failure::Wrong(format!(
            "status: {word:?} is none of open, replayed, dropped"
        )));
    }
    let found = desk.responses.letters(arguments.status.as_deref(), wanted).await?;
    Ok(LettersAnswer {
        next_cursor: next("dead_letters", found.len(), limit, offset),
        dead_letters: found.iter().take(limit as usize).map(LetterLine::from).collect(),
    })
}

pub async fn remediations(desk: &Desk, arguments: RemediationsArguments) -> Result<RemediationsAnswer, Failure> {
    let (limit, offset, wanted) = cut("remediations", arguments.limit, arguments.cursor.as_deref())?;
    let incident = arguments
        .incident_id
        .as_deref()
        .map(|id| uuid("incident_id", id))
        .transpose()?;
    let filter = ResponseFilter {
        incident,
        status: arguments.status,
    };
    let found = desk.responses.remediations(&filter, wanted).await?;
    Ok(RemediationsAnswer {
        next_cursor: next("remediations", found.len(), limit, offset),
        remediations: found.iter().take(limit as usize).map(RemediationLine::from).collect(),
    })
}

pub async fn remediation(desk: &Desk, arguments: &RemediationArguments) -> Result<RemediationAnswer, Failure> {
    let id = uuid("remediation_id", &arguments.remediation_id)?;
    let found = desk.responses.remediation(id).await?;
    let view = found.ok_or_else(|| {
        Failure::Wrong(format!(
            "there is no remediation {id}: list_remediations shows which there are"
        ))
    })?;
    Ok(RemediationAnswer {
        remediation: RemediationLine::from(&view),
        proposal: view.proposal,
        before: view.before,
        after: view.after,
    })
}

/// Limit, offset, and the page to ask for: one more than the limit tells whether there is more.
fn cut(of: &str, given: Option<u32>, cursor: Option<&str>) -> Result<(u32, u32, Page), Failure> {
    let limit = limit(given, 20, 100)?;
    let offset = page::place(of, cursor).map_err(Failure::Wrong)?;
    let page = Page {
        limit: limit + 1,
        offset,
    };
    Ok((limit, offset, page))
}

fn next(of: &str, found: usize, limit: u32, offset: u32) -> Option<String> {
    let more = found > limit as usize && offset + limit <= page::FURTHEST;
    more.then(|| page::cursor(of, offset + limit))
}
