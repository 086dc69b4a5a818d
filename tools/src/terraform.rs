//! Terraform: what a saved plan would change, what stands in a state, and whether the world is still what the code says.
//!
//! The program that is configured is started in a folder that is configured, without a shell, with a small environment of its own, with
//! a time limit and a limit on what is taken in. Looking never locks a state and never writes one: drift is a plan
//! (<https://developer.hashicorp.com/terraform/cli/commands/plan>, `-detailed-exitcode`, `-lock=false`) into a private folder that is
//! deleted afterwards.
//!
//! Values never leave: a plan and a state hold passwords. What changes is told by address and by the names of the attributes
//! ([`plan`]).
//!
//! Initialising a folder (`terraform init`) is not done here, nor is planning: who deploys does both, and saves the plan that is to be
//! applied ([`apply`]).

pub mod apply;
pub mod plan;
mod run;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::ToolError;
use crate::redact::{redact, shorten};
use plan::Plan;
use run::Program;
pub use settings::{TerraformFolder, TerraformSettings};

pub(crate) const TOOL: &str = "terraform";

/// Largest saved plan that is read, in bytes.
const PLAN_FILE: u64 = 64 << 20;

/// A folder that may be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Folder {
    pub name: String,
    /// Empty: of every environment.
    pub environment: String,
}

/// A folder by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfFolder {
    /// One of those that are configured.
    pub folder: String,
}

/// A saved plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfPlan {
    /// One of those that are configured.
    pub folder: String,
    /// The file's name in the folder of saved plans; no path.
    pub plan: String,
}

/// A saved plan as it can be approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SavedPlan {
    pub folder: String,
    pub name: String,
    /// Hex SHA-256 of the file: an approval holds for these bytes.
    pub sha256: String,
    /// The state that it would be applied to now.
    pub lineage: String,
    pub serial: u64,
    pub plan: Plan,
}

/// What stands in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct State {
    pub folder: String,
    /// Names the state; empty where there is none yet.
    pub lineage: String,
    /// Rises by one with each write.
    pub serial: u64,
    /// Addresses of the resources, in order.
    pub resources: Vec<String>,
    /// There are more resources than are told.
    pub cut: bool,
}

/// Whether the world is what the code says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    pub folder: String,
    /// Nothing would change, and nothing was changed behind Terraform's back.
    pub clean: bool,
    pub plan: Plan,
}

/// Infrastructure that is described by code.
#[async_trait]
pub trait Infrastructure: Send + Sync {
    fn folders(&self) -> Vec<Folder>;

    async fn plan(&self, of: &OfPlan) -> Result<SavedPlan, ToolError>;

    async fn state(&self, folder: &str) -> Result<State, ToolError>;

    /// Asks the providers; it may take minutes.
    async fn drift(&self, folder: &str) -> Result<Drift, ToolError>;
}

/// Terraform, or what has its command line (OpenTofu).
#[derive(Clone)]
pub struct Terraform {
    program: Arc<Program>,
    settings: Arc<TerraformSettings>,
}

impl Terraform {
    /// Starts nothing.
    pub fn new(settings: &TerraformSettings) -> Result<Self, ToolError> {
        Ok(Terraform {
            program: Arc::new(Program::new(settings)?),
            settings: Arc::new(settings.clone()),
        })
    }

    fn folder(&self, name: &str) -> Result<&TerraformFolder, ToolError> {
        let found = self.settings.folders.iter().find(|folder| folder.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self
                .settings
                .folders
                .iter()
                .map(|folder| folder.name.as_str())
                .collect();
            ToolError::refused(TOOL, format!("only these folders are looked at: {}", known.join(", ")))
        })
    }

    /// The file of a saved plan; a name, never a path.
    fn plan_file(&self, folder: &TerraformFolder, name: &str) -> Result<PathBuf, ToolError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > 200 || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
            let cause = format!(
                "{name:?} is no name of a saved plan: letters, digits, `.`, `-` and `_`, and neither `.` nor `-` first"
            );
            return Err(ToolError::refused(TOOL, cause));
        }
        Ok(folder.plans.as_deref().unwrap_or(&folder.path).join(name))
    }

    /// A copy of a saved plan that nobody else can write, and its hash: what was looked at is what is applied.
    async fn copied(&self, folder: &TerraformFolder, name: &str) -> Result<Copied, ToolError> {
        let file = self.plan_file(folder, name)?;
        let unreadable = |fault: std::io::Error| {
            ToolError::refused(
                TOOL,
                format!("the saved plan {name} in {} cannot be read: {fault}", folder.name),
            )
        };
        let length = tokio::fs::metadata(&file).await.map_err(unreadable)?.len();
        if length > PLAN_FILE {
            return Err(ToolError::refused(
                TOOL,
                format!("the saved plan {name} is larger than {PLAN_FILE} bytes"),
            ));
        }
        let bytes = tokio::fs::read(&file).await.map_err(unreadable)?;
        let place = private_folder()?;
        let copy = place.path().join("plan");
        tokio::fs::write(&copy, &bytes).await.map_err(unreadable)?;
        Ok(Copied {
            sha256: Sha256::digest(&bytes)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
            file: copy,
            _place: place,
        })
    }

    async fn read_plan(&self, folder: &TerraformFolder, file: &Path) -> Result<(Value, Plan), ToolError> {
        let file = file.to_string_lossy();
        let shown = self.program.question(folder, &["show", "-json", &file], &[0]).await?;
        let json: Value = serde_json::from_slice(&shown.stdout).map_err(|fault| garbled(&fault.to_string()))?;
        let read = plan::read(&json, self.settings.max_changes).map_err(|cause| garbled(&cause))?;
        Ok((json, read))
    }

    /// Lineage and serial of the state; both empty where there is none.
    async fn standing(&self, folder: &TerraformFolder) -> Result<(String, u64), ToolError> {
        let pulled = self.program.question(folder, &["state", "pull"], &[0]).await?;
        if pulled.stdout.trim_ascii().is_empty() {
            return Ok((String::new(), 0));
        }
        let pulled: Pulled = serde_json::from_slice(&pulled.stdout).map_err(|fault| garbled(&fault.to_string()))?;
        Ok((pulled.lineage, pulled.serial))
    }

    /// The state's values as `show -json` tells them.
    async fn values(&self, folder: &TerraformFolder) -> Result<Value, ToolError> {
        let shown = self.program.question(folder, &["show", "-json"], &[0]).await?;
        let json: Value = serde_json::from_slice(&shown.stdout).map_err(|fault| garbled(&fault.to_string()))?;
        match json["format_version"].is_string() {
            true => Ok(json),
            false => Err(garbled("it has no format_version")),
        }
    }
}

/// A saved plan in a folder of its own.
struct Copied {
    file: PathBuf,
    sha256: String,
    /// Deleted with this.
    _place: tempfile::TempDir,
}

#[derive(Deserialize)]
struct Pulled {
    lineage: String,
    serial: u64,
}

#[async_trait]
impl Infrastructure for Terraform {
    fn folders(&self) -> Vec<Folder> {
        let of = |folder: &TerraformFolder| Folder {
            name: folder.name.clone(),
            environment: folder.environment.clone(),
        };
        self.settings.folders.iter().map(of).collect()
    }

    async fn plan(&self, of: &OfPlan) -> Result<SavedPlan, ToolError> {
        let folder = self.folder(&of.folder)?;
        let copied = self.copied(folder, &of.plan).await?;
        let (_, plan) = self.read_plan(folder, &copied.file).await?;
        let (lineage, serial) = self.standing(folder).await?;
        Ok(SavedPlan {
            folder: folder.name.clone(),
            name: of.plan.clone(),
            sha256: copied.sha256,
            lineage,
            serial,
            plan,
        })
    }

    async fn state(&self, folder: &str) -> Result<State, ToolError> {
        let folder = self.folder(folder)?;
        let (lineage, serial) = self.standing(folder).await?;
        let mut resources: Vec<String> = plan::resources(&self.values(folder).await?)
            .into_iter()
            .map(|(address, _)| shorten(&redact(&address), 300))
            .collect();
        resources.sort();
        let cut = resources.len() > self.settings.max_changes;
        resources.truncate(self.settings.max_changes);
        Ok(State {
            folder: folder.name.clone(),
            lineage,
            serial,
            resources,
            cut,
        })
    }

    async fn drift(&self, folder: &str) -> Result<Drift, ToolError> {
        let folder = self.folder(folder)?;
        let place = private_folder()?;
        let file = place.path().join("plan");
        let out = format!("-out={}", file.display());
        let arguments = [
            "plan",
            "-detailed-exitcode",
            "-input=false",
            "-lock=false",
            "-no-color",
            &out,
        ];
        let ended = self.program.question(folder, &arguments, &[0, 2]).await?;
        let (_, plan) = self.read_plan(folder, &file).await?;
        Ok(Drift {
            folder: folder.name.clone(),
            clean: ended.code == 0 && plan.drift.is_empty(),
            plan,
        })
    }
}

/// Only we can look into it: a plan holds what a state holds.
fn private_folder() -> Result<tempfile::TempDir, ToolError> {
    tempfile::tempdir().map_err(|fault| ToolError::DidNotHappen {
        tool: TOOL,
        cause: format!("no folder can be made for a plan: {fault}"),
        retry: true,
    })
}

fn garbled(cause: &str) -> ToolError {
    ToolError::DidNotHappen {
        tool: TOOL,
        cause: format!("the answer is not what was expected: {}", shorten(&redact(cause), 300)),
        retry: true,
    }
}
