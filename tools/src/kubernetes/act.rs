//! Acting on a cluster.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::Action;
use model::approval::Approved;
use serde_json::json;
use uuid::Uuid;

use super::TOOL;
use super::api::{Api, Mode};
use super::history;
use super::observe::{merge_into, read, relevant_history};
use super::plan::plan;
use super::workload::{Object, path, target, text};
use crate::ToolError;
use crate::act::{Acting, Executed};
use crate::wire::Failure;

/// Annotation of a pod template: when a restart was asked for. The one that `kubectl rollout restart` writes.
pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Annotation of the workload (and of the template that a restart makes): the attempt that changed it last.
pub const ATTEMPT: &str = "aegis.dev/attempt";

/// Annotation of the workload: the hash of that attempt's plan. The plan that takes another back bears the same attempt.
pub const PLAN: &str = "aegis.dev/plan";

/// Changes one cluster.
pub struct Actor {
    api: Api,
}

impl Actor {
    pub fn new(api: Api) -> Self {
        Actor { api }
    }
}

#[async_trait]
impl Acting for Actor {
    fn system(&self) -> &str {
        self.api.cluster()
    }

    async fn execute(&self, approved: Approved<Action>) -> Result<Executed, ToolError> {
        let (action, attempt) = (approved.action(), approved.attempt());
        let target = target(action)?;
        let workload = read(&self.api, target).await?;
        if marked(&workload, action, attempt) {
            return Ok(Executed {
                attempt,
                note: "it had been carried out before".to_owned(),
                generation: workload.generation(),
                resource_version: workload.resource_version().to_owned(),
            });
        }
        let turned_away = |cause: String| ToolError::DidNotHappen {
            tool: TOOL,
            cause,
            retry: false,
        };
        if workload.resource_version() != approved.resource_version() {
            let cause = format!(
                "{} changed since it was looked at (resourceVersion {} is now {})",
                target,
                approved.resource_version(),
                workload.resource_version()
            );
            return Err(turned_away(cause));
        }
        let history = relevant_history(&self.api, action, &workload).await?;
        let plan = plan(action, &workload, &history, Utc::now()).map_err(turned_away)?;
        let mut patch = plan.patch;
        merge_into(
            &mut patch,
            json!({"metadata": {
                "resourceVersion": approved.resource_version(),
                "annotations": {ATTEMPT: attempt, PLAN: action.plan_hash()},
            }}),
        );
        if let Action::Restart { .. } = action {
            // On the template too: there it stays readable in the history when a later attempt marks the workload.
            merge_into(
                &mut patch,
                json!({"spec": {"template": {"metadata": {"annotations": {ATTEMPT: attempt}}}}}),
            );
        }
        let path = path(self.api.cluster(), target)?;
        let after = match self.api.patch(&path, &patch, Mode::Act).await {
            // A proxy may have sent it twice, and the second met the change that the first made: only looking tells.
            Err(conflict @ Failure::Status { status: 409, .. }) => {
                let there = read(&self.api, target).await;
                let there = there.map_err(|fault| ToolError::MayHaveHappened {
                    tool: TOOL,
                    cause: format!("{conflict}, and then nobody could look: {fault}"),
                })?;
                if !marked(&there, action, attempt) {
                    return Err(conflict.of_a_deed(TOOL));
                }
                there
            }
            answer => answer
                .and_then(|json| Object::new(workload.kind, json))
                .map_err(|failure| failure.of_a_deed(TOOL))?,
        };
        if !marked(&after, action, attempt) {
            return Err(ToolError::MayHaveHappened {
                tool: TOOL,
                cause: "the answer does not bear the attempt".to_owned(),
            });
        }
        Ok(Executed {
            attempt,
            note: plan.note,
            generation: after.generation(),
            resource_version: after.resource_version().to_owned(),
        })
    }

    async fn happened(&self, action: &Action, attempt: Uuid, _since: DateTime<Utc>) -> Result<bool, ToolError> {
        let target = target(action)?;
        let path = path(self.api.cluster(), target)?;
        let workload = match self.api.get(&path).await {
            Ok(json) => Object::new(target.kind, json).map_err(|failure| failure.of_a_question(TOOL))?,
            // What is gone bears no mark, and nothing of the attempt is left to settle.
            Err(Failure::Status { status: 404, .. }) => return Ok(false),
            Err(failure) => return Err(failure.of_a_question(TOOL)),
        };
        if marked(&workload, action, attempt) {
            return Ok(true);
        }
        let Action::Restart { target } = action else {
            return Ok(false);
        };
        let history = history::of(&self.api, &target.namespace, &workload).await;
        let history = history.map_err(|failure| failure.of_a_question(TOOL))?;
        let attempt = attempt.to_string();
        let templates = history.iter().map(|entry| &entry.template).chain([workload.template()]);
        let mut attempts = templates.map(|template| text(&template["metadata"]["annotations"][ATTEMPT]));
        Ok(attempts.any(|found| found == attempt))
    }
}

fn marked(workload: &Object, action: &Action, attempt: Uuid) -> bool {
    workload.annotation(ATTEMPT) == Some(attempt.to_string().as_str())
        && workload.annotation(PLAN) == Some(action.plan_hash().as_str())
}
