//! How the pipeline is: the readiness of the process, and where every sink stands.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use gateway::{ReadError, Readiness};
use mcp::{Overview, PipelineStatus, SinkState, StageTrouble};
use sinks::sql::Store;
use stream::Log;
use tokio::time::Instant;

use crate::generations::Layout;
use crate::sql_endpoint;
use crate::standings::standings;
use crate::world::World;

pub struct Standings {
    readiness: Readiness,
    log: Arc<dyn Log>,
    layout: Layout,
    store: Store,
    archive_dir: Option<PathBuf>,
}

impl Standings {
    pub fn new(world: &World, readiness: Readiness) -> Self {
        Standings {
            readiness,
            log: world.runtime.log.clone(),
            layout: world.topology.layout.clone(),
            store: world.store.clone(),
            archive_dir: sql_endpoint::archive(&world.config),
        }
    }
}

#[async_trait]
impl Overview for Standings {
    async fn status(&self) -> Result<PipelineStatus, ReadError> {
        let stand = standings(&self.log, &self.layout, &self.store, self.archive_dir.as_deref()).await;
        let stand = stand.map_err(|error| ReadError::Unavailable(format!("{error:#}")))?;
        let mut sinks: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
        for standing in stand {
            let (lag, lost) = sinks.entry((standing.sink, standing.topic)).or_default();
            *lag += standing.lag;
            *lost += standing.lost;
        }
        let report = self.readiness.check(Instant::now());
        let failing = report.failing.into_iter().map(|failing| StageTrouble {
            stage: failing.stage,
            partition: failing.partition,
            reason: failing.reason.to_owned(),
            detail: failing.detail,
        });
        let sinks = sinks
            .into_iter()
            .map(|((sink, topic), (lag, lost))| SinkState { sink, topic, lag, lost });
        Ok(PipelineStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: report.ready,
            failing: failing.collect(),
            degraded: report.degraded,
            sinks: sinks.collect(),
        })
    }
}
