//! Past incidents that read like one, or like a text.

use gateway::{ReadError, SimilarAnswer};
use model::IncidentId;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{limit, uuid};
use crate::answer::Failure;
use crate::desk::Desk;

/// Longest text, in bytes.
const MAX_TEXT: usize = 4_000;

/// What past incidents are compared with: an incident or a text.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SimilarArguments {
    /// The incident's id, a UUID.
    #[serde(default)]
    pub incident_id: Option<String>,
    /// Words, in the place of an incident.
    #[serde(default)]
    pub text: Option<String>,
    /// Most incidents of the answer, 1 to 50; 5 where it is absent.
    #[serde(default)]
    pub limit: Option<u32>,
}

pub async fn similar(desk: &Desk, arguments: &SimilarArguments) -> Result<SimilarAnswer, Failure> {
    let limit = limit(arguments.limit, 5, 50)?;
    match (&arguments.incident_id, &arguments.text) {
        (Some(id), None) => {
            let id = uuid("incident_id", id)?;
            let found = desk.incidents.similar(IncidentId(id), limit).await.map_err(away)?;
            found.ok_or_else(|| {
                Failure::Wrong(format!(
                    "there is no incident {id}: list_incidents shows which there are"
                ))
            })
        }
        (None, Some(text)) if text.trim().is_empty() => Err(Failure::Wrong("text: it is empty".to_owned())),
        (None, Some(text)) if text.len() > MAX_TEXT => Err(Failure::Wrong(format!(
            "text: it has {} bytes, and {MAX_TEXT} are taken",
            text.len()
        ))),
        (None, Some(text)) => desk.incidents.similar_to(text, limit).await.map_err(away),
        _ => Err(Failure::Wrong(
            "give incident_id or text, and not both: one of them is compared".to_owned(),
        )),
    }
}

/// The vectors are not the store: they are off, or away by themselves.
fn away(error: ReadError) -> Failure {
    match error {
        ReadError::Unavailable(words) => {
            tracing::warn!(words, "past incidents were not compared");
            Failure::Unavailable(
                "past incidents cannot be compared: vectors are off or away (pipeline_status)".to_owned(),
            )
        }
        failed @ ReadError::Failed(_) => failed.into(),
    }
}
