//! A proposal: the one thing that a client can bring about, and it is a question to a person.

use chrono::{DateTime, Utc};
use gateway::{Caller, Role};
use model::{Action, IncidentId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::uuid;
use crate::answer::Failure;
use crate::desk::{Desk, ProposalRequest};

/// Longest reason, in characters.
const WORDS: usize = 2_000;

/// What to propose.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposeArguments {
    /// The incident that it is for, a UUID.
    pub incident_id: String,
    /// The plan. It is tried dry at once, and carried out by nobody before a person has approved it.
    pub action: Action,
    /// Why, for the person who decides: what was seen, and where it can be looked up.
    pub reason: String,
}

/// A proposal that waits for a person.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProposeAnswer {
    /// Follow it with `get_remediation`.
    pub remediation_id: String,
    pub plan_hash: String,
    /// The plan in words.
    pub action: String,
    /// What would change, by a dry run.
    pub dry_run: String,
    /// What would take it back; absent where nothing would.
    pub inverse: Option<String>,
    /// Pods that it touches.
    pub pods: u32,
    pub proposed_by: String,
    /// After this nobody can approve it.
    pub expires_at: DateTime<Utc>,
    /// What happens now.
    pub next: &'static str,
}

/// Whether `caller` may propose; a person must be named for it.
pub fn may(caller: &Caller) -> bool {
    caller.name.is_some() && caller.role >= Role::Responder
}

pub async fn propose(desk: &Desk, caller: &Caller, arguments: ProposeArguments) -> Result<ProposeAnswer, Failure> {
    if !may(caller) {
        return Err(Failure::Forbidden(
            "proposing needs a token with a name and the role responder, approver or admin ([gateway.tokens.NAME])"
                .to_owned(),
        ));
    }
    let incident = IncidentId(uuid("incident_id", &arguments.incident_id)?);
    let reason = printable(&arguments.reason);
    match reason.chars().count() {
        0 => return Err(Failure::Wrong("reason: it is empty: say it in a few words".to_owned())),
        n if n > WORDS => {
            return Err(Failure::Wrong(format!(
                "reason: it has {n} characters, at most {WORDS} are taken"
            )));
        }
        _ => {}
    }
    let request = ProposalRequest {
        incident,
        action: arguments.action,
        reason,
    };
    let by = caller.by();
    let proposed = desk.proposals.propose(request, &by).await?;
    Ok(ProposeAnswer {
        remediation_id: proposed.id.to_string(),
        plan_hash: proposed.plan_hash,
        action: proposed.action,
        dry_run: proposed.dry_run,
        inverse: proposed.inverse,
        pods: proposed.pods,
        proposed_by: by,
        expires_at: proposed.expires_at,
        next: "It waits for a person other than the proposer, who approves or denies it on Slack, at the command line or over REST. Nothing happens before that.",
    })
}

/// Without letters that a terminal or a card would take for something else.
fn printable(text: &str) -> String {
    let kept = text.chars().map(|letter| {
        if letter.is_control() && letter != '\n' {
            ' '
        } else {
            letter
        }
    });
    kept.collect::<String>().trim().to_owned()
}
