//! Socket.IO of a running aegis: what clients get first, from the tables.

use std::sync::Arc;

use async_trait::async_trait;
use gateway::{
    Door, IncidentFilter, IncidentReads as _, Page, PipelineReads, ReadError, ResponseFilter, ResponseReads as _,
};
use live::{Live, Namespace, Snapshot, Snapshots, Stands};
use serde_json::{Value, json};
use shared::Shared;
use sinks::sql::{SqlSink, Store};
use sinks::worker::GENERATION_STRIDE;
use stream::Log;
use tokio_util::sync::CancellationToken;

use crate::generations::Layout;
use crate::map::Map;
use crate::reads::StoreReads;
use crate::world::World;

/// Incidents, steps and remediations of a snapshot.
const NEWEST: u32 = 200;

/// Ready for clients. Nobody is told anything before it runs.
pub async fn open(
    world: &World,
    shared: &Shared,
    door: Door,
    map: Arc<Map>,
    stop: CancellationToken,
) -> anyhow::Result<Live> {
    let tables = Tables {
        log: world.runtime.log.clone(),
        layout: world.topology.layout.clone(),
        store: world.store.clone(),
        reads: StoreReads::new(world.store.clone()),
        map,
    };
    let stands = Stands {
        log: world.runtime.log.clone(),
        snapshots: Arc::new(tables),
        door,
        pubsub: shared.pubsub.clone(),
    };
    Ok(Live::open(world.config.live.clone(), stands, stop).await?)
}

struct Tables {
    log: Arc<dyn Log>,
    layout: Layout,
    store: Store,
    reads: StoreReads,
    map: Arc<Map>,
}

impl Tables {
    /// Up to where the tables have a topic, by partition.
    async fn written(&self, topic: &str) -> Result<Vec<Option<u64>>, ReadError> {
        let away = |error: &dyn std::fmt::Display| ReadError::Unavailable(error.to_string());
        let count = self.log.partitions(topic).await.map_err(|error| away(&error))?;
        let generation = self.layout.topics.get(topic).map_or(0, |place| place.generation);
        let mut next = vec![None; count as usize];
        for (sink, partition, at) in self.store.positions().await.map_err(|error| away(&error))? {
            let number = (partition.partition % GENERATION_STRIDE) as usize;
            let this = sink == SqlSink::NAME
                && *partition.topic == *topic
                && partition.partition / GENERATION_STRIDE == generation;
            if let (true, Some(next)) = (this, next.get_mut(number)) {
                *next = Some(at.0);
            }
        }
        Ok(next)
    }
}

#[async_trait]
impl Snapshots for Tables {
    /// Positions before rows, so that the rows have at least what lies before them.
    async fn snapshot(&self, of: Namespace) -> Result<Snapshot, ReadError> {
        let next = match of.topic() {
            Some(topic) => self.written(topic).await?,
            None => Vec::new(),
        };
        let page = Page {
            limit: NEWEST + 1,
            offset: 0,
        };
        let any = ResponseFilter::default();
        let state = match of {
            Namespace::Incidents => {
                let mut rows = self.reads.incidents(&IncidentFilter::default(), page).await?;
                let more = rows.len() > NEWEST as usize;
                rows.truncate(NEWEST as usize);
                json!({ "incidents": rows, "more": more })
            }
            Namespace::Agents => {
                let mut rows = serde_json::to_value(self.reads.steps(&any, page).await?).unwrap_or_default();
                for row in rows
                    .as_array_mut()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_object_mut)
                {
                    // Large, and asked for when somebody looks.
                    for field in ["input", "output", "tool_calls"] {
                        row.remove(field);
                    }
                }
                json!({ "steps": rows })
            }
            Namespace::Remediations => {
                let rows = self.reads.remediations(&any, page).await?;
                json!({ "remediations": rows, "stopped": self.map.stopped().await })
            }
            Namespace::Pipeline => serde_json::to_value(self.map.pipeline().await).unwrap_or_default(),
        };
        Ok(Snapshot { next, state })
    }
}
