//! How the pipeline is, stage by stage.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The pipeline at some moment. Counts are those since this process began, of all processes; places are those of this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PipelineView {
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: DateTime<Utc>,
    /// Upstream first.
    pub stages: Vec<StageState>,
    pub sinks: Vec<SinkPlaces>,
    pub senders: Vec<SenderState>,
    /// Where this process takes what senders send, as `127.0.0.1:3001`; absent where it does not.
    pub dispatcher: Option<String>,
    /// What works less well than it should, by name.
    pub degraded: BTreeMap<String, String>,
}

/// One stage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageState {
    pub stage: String,
    /// Topics that it reads.
    pub inputs: Vec<String>,
    /// Topics that it writes data to.
    pub outputs: Vec<String>,
    pub counts: StageCounts,
    /// Every item in has become something: forwarded, merged, suppressed, late, a dead letter, or held.
    pub balanced: bool,
    pub partitions: Vec<PlaceView>,
    /// Why it does not work.
    pub trouble: Option<String>,
    /// What it waits for.
    pub waiting: Option<String>,
}

/// What became of items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageCounts {
    pub bodies: u64,
    pub items_in: u64,
    pub forwarded: u64,
    pub merged: u64,
    pub suppressed: u64,
    pub late: u64,
    pub dead_lettered: u64,
    pub held: u64,
    /// Held before, and counted otherwise now.
    pub released: u64,
    /// Rows that no single item became.
    pub produced: u64,
}

/// One sink, worker or receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SinkPlaces {
    pub sink: String,
    pub partitions: Vec<PlaceView>,
    pub trouble: Option<String>,
    pub waiting: Option<String>,
}

/// Where somebody stands in one partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceView {
    pub topic: String,
    pub partition: u32,
    /// The next offset.
    pub position: u64,
    /// Records up to the end of the log.
    pub lag: u64,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub watermark: Option<DateTime<Utc>>,
    /// When it last had nothing left to do.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub caught_up_at: Option<DateTime<Utc>>,
}

/// Whoever sends to this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SenderState {
    pub sender: String,
    pub requests: u64,
    pub refused: u64,
    /// When it was heard last, to a few seconds.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_at: Option<DateTime<Utc>>,
}

/// How the stop switch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopView {
    pub on: bool,
}

/// Tells how the pipeline is.
#[async_trait]
pub trait PipelineReads: Send + Sync + 'static {
    async fn pipeline(&self) -> PipelineView;

    /// How the stop switch stands; `None` until the log was read.
    async fn stopped(&self) -> Option<bool>;
}
