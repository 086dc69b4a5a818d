//! Compliance through the API: controls, what the log holds about one, and its evidence pack. The pipeline implements it over the log.

use async_trait::async_trait;
use model::ComplianceRecord;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reads::ReadError;

/// A control and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlView {
    /// `SOC2:CC8.1`.
    pub control: String,
    pub title: String,
    /// Ids of the policies that serve it.
    pub policies: Vec<String>,
    pub passes: u64,
    pub violations: u64,
}

/// Reads what the policies said.
#[async_trait]
pub trait ComplianceReads: Send + Sync + 'static {
    /// By id.
    async fn controls(&self) -> Result<Vec<ControlView>, ReadError>;

    /// Newest first; `None`: there is no such control.
    async fn records(&self, control: &str) -> Result<Option<Vec<ComplianceRecord>>, ReadError>;

    /// The same bytes for the same log; `None`: there is no such control.
    async fn evidence(&self, control: &str) -> Result<Option<Vec<u8>>, ReadError>;
}
