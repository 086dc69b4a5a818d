//! Where everybody begins to read in the new topics: behind what was copied, which they have all read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use model::remediation::Switch;
use sinks::notify::Quiet;
use stream::log::{Commit, CommitError, MemberEvent};
use stream::{Log, Offset, SinkBatch, TopicPartition};

use super::moves;
use crate::cli::Exit;
use crate::generations::{Layout, Opening};
use crate::world::World;

/// For the group to hand its partitions out. A broker takes some seconds.
const TURN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);

/// Sets the positions of `group` in the partitions of `topic`.
pub async fn stand(log: &Arc<dyn Log>, group: &str, topic: &str, offsets: &[Offset]) -> anyhow::Result<()> {
    let wanted: BTreeMap<TopicPartition, Offset> = offsets
        .iter()
        .enumerate()
        .map(|(number, offset)| (TopicPartition::new(topic, number as u32), *offset))
        .collect();
    let mut missing = false;
    for (partition, offset) in &wanted {
        missing |= log.committed(group, partition).await? != Some(*offset);
    }
    if !missing {
        return Ok(());
    }
    let mut member = log.join(group, &[topic.into()]).await?;
    let until = tokio::time::Instant::now() + TURN;
    let mut owned = 0;
    while owned < wanted.len() {
        if let Some(MemberEvent::Assigned(partitions)) = member.next(POLL).await? {
            for (partition, _) in &partitions {
                // Nothing need be fetched.
                let end = log.bounds(partition).await?.end;
                member.seek(partition, end).await?;
            }
            owned += partitions.len();
        }
        if owned < wanted.len() && tokio::time::Instant::now() >= until {
            let _ = member.leave().await;
            return Err(Exit::Unavailable.because(format!(
                "group {group} handed out {owned} of {} partitions within {} s: is another aegis running?",
                wanted.len(),
                TURN.as_secs()
            )));
        }
    }
    let commit = Commit {
        outputs: Vec::new(),
        positions: wanted.clone().into_iter().collect(),
    };
    match member.commit(commit).await {
        // Looked at below.
        Ok(()) | Err(CommitError::Unknown(_)) => {}
        Err(error) => return Err(error).with_context(|| format!("setting the positions of {group}")),
    }
    member.leave().await?;
    for (partition, offset) in &wanted {
        let stands = log.committed(group, partition).await?;
        if stands != Some(*offset) {
            bail!("group {group} stands at {stands:?} in {partition}, not at {}", offset.0);
        }
    }
    Ok(())
}

/// Lets the stores of all sinks stand at the opening of `layout`, without a row.
pub async fn sinks(world: &World, layout: &Layout, opening: &Opening) -> anyhow::Result<()> {
    let id = world.runtime.log.id();
    // Nobody keeps it, so it says nothing of any silence and nothing is told here.
    let quiet: Arc<dyn Quiet> = world.silences();
    for mut sink in world
        .sinks_of(layout)?
        .into_iter()
        .chain(world.workers(layout, Switch::default(), &quiet)?)
    {
        let name = sink.name().to_owned();
        for topic in sink.topics() {
            if !moves(&topic) {
                continue;
            }
            for number in 0..layout.partitions(&topic) {
                let partition = TopicPartition::new(topic.clone(), number);
                let next = Offset(opening.offsets.get(&partition.to_string()).copied().unwrap_or(0));
                match sink.position(&id, &partition).await? {
                    Some(stands) if stands == next => continue,
                    Some(stands) => bail!(
                        "sink {name} stands at {} in {partition} of a generation that nobody has read: it is {} that was expected",
                        stands.0,
                        next.0
                    ),
                    None => {}
                }
                let batch = SinkBatch {
                    partition,
                    start: Offset(0),
                    next,
                    records: Vec::new(),
                };
                sink.write(&id, &[batch])
                    .await
                    .with_context(|| format!("setting the position of sink {name}"))?;
            }
        }
        sink.close().await?;
    }
    Ok(())
}
