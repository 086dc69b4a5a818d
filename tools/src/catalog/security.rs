//! What GitHub knows of weaknesses.

use serde_json::Value;

use super::{Purpose, Tool, arguments_of, json, observing, unknown};
use crate::ToolError;
use crate::github::security::{AlertAnswer, AlertQuery, Change, ChangeSecrets, OneAlert, Security, SecurityAlert};
use crate::observe::Observe;

const ALERTS: &str = "github_security_alerts";
const ALERT: &str = "github_security_alert";
const SECRETS: &str = "github_secrets_in_change";

pub(super) fn names(name: &str) -> bool {
    [ALERTS, ALERT, SECRETS].contains(&name)
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        observing::<AlertQuery, AlertAnswer>(
            ALERTS,
            "Alerts of code scanning, Dependabot or secret scanning of a repository, newest first. Never a secret itself.",
        ),
        observing::<OneAlert, SecurityAlert>(ALERT, "One security alert, with the place where it was seen."),
        observing::<Change, ChangeSecrets>(
            SECRETS,
            "What the lines that are added between two commits hold of secrets: which kind and where, never the secret.",
        ),
    ]
}

pub(super) async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    Ok(match name {
        ALERTS => {
            let read: AlertQuery = arguments_of(ALERTS, arguments)?;
            json(security(observe)?.alerts(&read).await?)
        }
        ALERT => {
            let read: OneAlert = arguments_of(ALERT, arguments)?;
            json(security(observe)?.alert(&read).await?)
        }
        SECRETS => {
            let read: Change = arguments_of(SECRETS, arguments)?;
            json(security(observe)?.secrets_in_change(&read).await?)
        }
        other => return Err(unknown(other, Purpose::Observe)),
    })
}

fn security(observe: &Observe) -> Result<&dyn Security, ToolError> {
    observe.security.as_deref().ok_or(ToolError::Absent {
        tool: "github",
        setting: "tools.github.token and repositories",
    })
}
