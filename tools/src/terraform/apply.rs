//! A saved plan, applied after its hash was approved.
//!
//! An approval is for one file (its SHA-256) on one state (lineage and serial). What is applied is a private copy of the file, whose hash
//! is taken of the copy; Terraform itself refuses a plan that was made on another state, so a plan is applied at most once.
//!
//! Whether it happened is told by the state: its serial is another than the approved one, and every resource that the plan touches is
//! as the plan says. An apply that broke off in the middle is neither, and is left to people.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::Action;
use model::action::TERRAFORM;
use model::approval::Approved;
use model::proposal::{BlastRadius, TargetState};
use model::remediation::Health;
use serde_json::json;
use uuid::Uuid;

use super::{Infrastructure as _, OfPlan, SavedPlan, TOOL, Terraform, TerraformFolder, plan};
use crate::ToolError;
use crate::act::{Acting, Executed};
use crate::observe::{DryRun, Outcome, Plans};

/// What an action names.
struct Asked<'a> {
    folder: &'a str,
    plan: &'a str,
    sha256: &'a str,
    lineage: &'a str,
    serial: u64,
}

impl<'a> Asked<'a> {
    fn of(action: &'a Action) -> Result<Self, ToolError> {
        match action {
            Action::TerraformApply {
                folder,
                plan,
                sha256,
                lineage,
                serial,
            } => Ok(Asked {
                folder,
                plan,
                sha256,
                lineage,
                serial: *serial,
            }),
            other => Err(ToolError::refused(
                TOOL,
                format!("it is no action on Terraform: {other}"),
            )),
        }
    }
}

/// The action that applies a plan as it was just looked at.
pub fn action_of(saved: &SavedPlan) -> Action {
    Action::TerraformApply {
        folder: saved.folder.clone(),
        plan: saved.name.clone(),
        sha256: saved.sha256.clone(),
        lineage: saved.lineage.clone(),
        serial: saved.serial,
    }
}

impl Terraform {
    fn writable(&self, name: &str) -> Result<&TerraformFolder, ToolError> {
        let folder = self.folder(name)?;
        match folder.apply {
            true => Ok(folder),
            false => Err(ToolError::refused(
                TOOL,
                format!("plans of {name} are only looked at: set apply = true of that folder"),
            )),
        }
    }

    /// The plan of `asked` as it is now, if it is the one that is named.
    async fn looked_at(&self, asked: &Asked<'_>) -> Result<SavedPlan, ToolError> {
        let of = OfPlan {
            folder: asked.folder.to_owned(),
            plan: asked.plan.to_owned(),
        };
        let saved = self.plan(&of).await?;
        match saved.sha256 == asked.sha256 {
            true => Ok(saved),
            false => Err(ToolError::refused(
                TOOL,
                format!(
                    "the saved plan {} is another file by now: its hash is {}",
                    asked.plan, saved.sha256
                ),
            )),
        }
    }

    async fn done(&self, asked: &Asked<'_>) -> Result<bool, ToolError> {
        let folder = self.writable(asked.folder)?;
        let (lineage, serial) = self.standing(folder).await?;
        // A state that did not exist has got its name by the first apply.
        let written = serial > asked.serial && (lineage == asked.lineage || asked.lineage.is_empty());
        if !written {
            return Ok(false);
        }
        let copied = self.copied(folder, asked.plan).await?;
        if copied.sha256 != asked.sha256 {
            return Err(ToolError::refused(
                TOOL,
                "the saved plan is another file by now, so nobody can tell what it did",
            ));
        }
        let (planned, _) = self.read_plan(folder, &copied.file).await?;
        Ok(plan::carried_out(&planned, &self.values(folder).await?))
    }
}

fn target(asked: &Asked<'_>, saved: &SavedPlan) -> TargetState {
    TargetState {
        uid: saved.lineage.clone(),
        generation: i64::try_from(saved.serial).unwrap_or(i64::MAX),
        spec_hash: saved.sha256.clone(),
        resource_version: format!("{}/{}", saved.lineage, saved.serial),
        replicas: 0,
        ready: 0,
        detail: json!({"plan": asked.plan, "changes": saved.plan.summary()}),
    }
}

#[async_trait]
impl Plans for Terraform {
    fn system(&self) -> &'static str {
        TERRAFORM
    }

    async fn state(&self, action: &Action) -> Result<TargetState, ToolError> {
        let asked = Asked::of(action)?;
        self.writable(asked.folder)?;
        let saved = self.looked_at(&asked).await?;
        Ok(target(&asked, &saved))
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError> {
        let asked = Asked::of(action)?;
        self.writable(asked.folder)?;
        let saved = self.looked_at(&asked).await?;
        if (saved.lineage.as_str(), saved.serial) != (asked.lineage, asked.serial) {
            let cause = format!(
                "the state is at serial {}, not at {}: look at the plan again",
                saved.serial, asked.serial
            );
            return Err(ToolError::refused(TOOL, cause));
        }
        if saved.plan.touches() == 0 && saved.plan.outputs.is_empty() {
            return Err(ToolError::refused(
                TOOL,
                format!("the saved plan {} changes nothing", asked.plan),
            ));
        }
        if !saved.plan.applyable {
            return Err(ToolError::refused(
                TOOL,
                format!("Terraform says that {} cannot be applied", asked.plan),
            ));
        }
        Ok(DryRun {
            diff: saved.plan.lines(),
            // What a plan destroys is gone, and what it did before it was changed no plan knows.
            inverse: None,
            blast_radius: BlastRadius::default(),
            target: target(&asked, &saved),
        })
    }

    async fn outcome(&self, action: &Action, _: Uuid, _: DateTime<Utc>) -> Result<Outcome, ToolError> {
        let asked = Asked::of(action)?;
        let done = self.done(&asked).await?;
        let saved = self.looked_at(&asked).await?;
        let (health, note) = match done {
            true => (Health::Recovered, "the state is what the plan says"),
            false => (Health::NotYet, "the state is not what the plan says"),
        };
        Ok(Outcome {
            health,
            note: format!("{note}: {}, serial {}", asked.folder, saved.serial),
            state: Some(target(&asked, &saved)),
        })
    }
}

/// Applies. Held by the executor alone.
pub struct Applier {
    terraform: Terraform,
}

impl Applier {
    pub fn new(terraform: Terraform) -> Self {
        Applier { terraform }
    }
}

#[async_trait]
impl Acting for Applier {
    fn system(&self) -> &str {
        TERRAFORM
    }

    async fn execute(&self, approved: Approved<Action>) -> Result<Executed, ToolError> {
        let asked = Asked::of(approved.action())?;
        let terraform = &self.terraform;
        let folder = terraform.writable(asked.folder)?;
        let copied = terraform.copied(folder, asked.plan).await?;
        if copied.sha256 != asked.sha256 {
            let cause = format!("the saved plan {} is not the file that was approved", asked.plan);
            return Err(ToolError::refused(TOOL, cause));
        }
        let (lineage, serial) = terraform.standing(folder).await?;
        if approved.resource_version() != format!("{lineage}/{serial}") {
            return Err(ToolError::DidNotHappen {
                tool: TOOL,
                cause: format!("the state has moved on to serial {serial}"),
                retry: false,
            });
        }
        let file = copied.file.to_string_lossy();
        terraform
            .program
            .deed(
                folder,
                &["apply", "-input=false", "-no-color", "-lock-timeout=30s", &file],
            )
            .await?;
        // It is done whatever the next question brings: a serial that nobody could read is 0.
        let (lineage, serial) = terraform.standing(folder).await.unwrap_or_default();
        Ok(Executed {
            attempt: approved.attempt(),
            note: format!("{}: the state is at serial {serial}", approved.action()),
            generation: i64::try_from(serial).unwrap_or(i64::MAX),
            resource_version: format!("{lineage}/{serial}"),
        })
    }

    async fn happened(&self, action: &Action, _: Uuid, _: DateTime<Utc>) -> Result<bool, ToolError> {
        self.terraform.done(&Asked::of(action)?).await
    }
}
