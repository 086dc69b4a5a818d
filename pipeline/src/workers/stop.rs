//! How the stop switch stands: the newest word in `remediations`, of every partition.

use std::ops::ControlFlow;
use std::sync::Arc;

use model::remediation::{RemediationEvent, RemediationFact, Switch};
use model::signing::{self, Message, Signer, Verdict};
use model::topics;
use stream::progress::KIND_HEADER;
use stream::{Log, Record, TopicPartition};

use crate::scan::scan;

/// Reads the topic once, at the start: an executor that forgot the switch must not act on what was granted before it. Where partitions
/// say different things (somebody is at it now), it is on.
pub async fn switch(log: &Arc<dyn Log>, signer: &Signer) -> anyhow::Result<Switch> {
    let mut all = Switch::default();
    for partition in 0..log.partitions(topics::REMEDIATIONS).await? {
        let partition = TopicPartition::new(topics::REMEDIATIONS, partition);
        let bounds = log.bounds(&partition).await?;
        let mut here = Switch::default();
        scan(log, &partition, bounds.start, bounds.end, |record| {
            if record.header(KIND_HEADER).is_none()
                && let Ok(event) = serde_json::from_slice::<RemediationEvent>(&record.value)
                && let RemediationFact::StopSwitch { on, .. } = event.fact
            {
                here.hear(on, event.at, is_order(signer, record));
            }
            ControlFlow::Continue(())
        })
        .await?;
        all = all.or(here);
    }
    Ok(all)
}

/// Whether somebody of this installation gave the order.
pub fn is_order(signer: &Signer, record: &Record) -> bool {
    let message = Message {
        topic: topics::REMEDIATIONS,
        key: record.key.as_deref().unwrap_or_default(),
        value: &record.value,
    };
    let header = record.header(signing::HEADER).map(|header| &**header);
    matches!(signer.check(message, header), Verdict::Authentic { .. })
}
