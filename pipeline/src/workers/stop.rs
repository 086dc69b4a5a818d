//! How the stop switch stands: what was said last in any partition of `remediations`.

use std::ops::ControlFlow;
use std::sync::Arc;

use model::remediation::{RemediationEvent, RemediationFact};
use model::topics;
use stream::progress::KIND_HEADER;
use stream::{Log, TopicPartition};

use crate::scan::scan;

/// Reads the topic once, at the start: an executor that forgot the switch must not act on what was granted before it. Where partitions
/// say different things (somebody is at it now), it is on.
pub async fn stopped(log: &Arc<dyn Log>) -> anyhow::Result<bool> {
    let mut any = false;
    for partition in 0..log.partitions(topics::REMEDIATIONS).await? {
        let partition = TopicPartition::new(topics::REMEDIATIONS, partition);
        let bounds = log.bounds(&partition).await?;
        let mut here = false;
        scan(log, &partition, bounds.start, bounds.end, |record| {
            if record.header(KIND_HEADER).is_none()
                && let Ok(event) = serde_json::from_slice::<RemediationEvent>(&record.value)
                && let RemediationFact::StopSwitch { on, .. } = event.fact
            {
                here = on;
            }
            ControlFlow::Continue(())
        })
        .await?;
        any |= here;
    }
    Ok(any)
}
