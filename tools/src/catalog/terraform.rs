//! Infrastructure that is described by code.

use model::Action;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{ActionArguments, Purpose, Tool, acting, arguments_of, dry_run, json, observing, unknown};
use crate::ToolError;
use crate::observe::{DryRun, Infrastructure, Observe};
use crate::terraform::{Drift, OfFolder, OfPlan, SavedPlan, State};

/// Arguments of applying a saved plan; what `terraform_plan` tells of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyArguments {
    /// Name of the configured folder.
    pub folder: String,
    /// Name of the saved plan.
    pub plan: String,
    /// Hex SHA-256 of the saved plan.
    pub sha256: String,
    /// Of the state that it would be applied to; empty where there is none yet.
    pub lineage: String,
    /// Of the state that it would be applied to.
    pub serial: u64,
}

pub(super) fn tools() -> Vec<Tool> {
    vec![
        observing::<OfPlan, SavedPlan>(
            "terraform_plan",
            "What a saved plan would change: addresses and names of attributes, no values.",
        ),
        observing::<OfFolder, State>(
            "terraform_state",
            "The addresses of what stands in a state, and its serial.",
        ),
        observing::<OfFolder, Drift>(
            "terraform_drift",
            "Whether the world is still what the code says, by planning without locking or writing a state.",
        ),
        observing::<ActionArguments, DryRun>("terraform_dry_run", "What applying a saved plan would change."),
        acting::<ApplyArguments>("terraform_apply", "Apply a saved plan: this file, on this state."),
    ]
}

pub(super) async fn call(observe: &Observe, name: &str, arguments: Value) -> Result<Value, ToolError> {
    Ok(match name {
        "terraform_plan" => {
            let read: OfPlan = arguments_of("terraform_plan", arguments)?;
            json(infrastructure(observe)?.plan(&read).await?)
        }
        "terraform_state" => {
            let OfFolder { folder } = arguments_of("terraform_state", arguments)?;
            json(infrastructure(observe)?.state(&folder).await?)
        }
        "terraform_drift" => {
            let OfFolder { folder } = arguments_of("terraform_drift", arguments)?;
            json(infrastructure(observe)?.drift(&folder).await?)
        }
        "terraform_dry_run" => dry_run(observe, "terraform_dry_run", arguments).await?,
        other => return Err(unknown(other, Purpose::Observe)),
    })
}

pub(super) fn action(name: &str, arguments: Value) -> Result<Action, ToolError> {
    match name {
        "terraform_apply" => {
            let read: ApplyArguments = arguments_of("terraform_apply", arguments)?;
            Ok(Action::TerraformApply {
                folder: read.folder,
                plan: read.plan,
                sha256: read.sha256,
                lineage: read.lineage,
                serial: read.serial,
            })
        }
        other => Err(unknown(other, Purpose::Act)),
    }
}

fn infrastructure(observe: &Observe) -> Result<&dyn Infrastructure, ToolError> {
    observe.infrastructure.as_deref().ok_or(ToolError::Absent {
        tool: "terraform",
        setting: "tools.terraform.executable and folders",
    })
}
