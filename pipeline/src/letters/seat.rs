//! The seat at the letters: who has it is alone in changing them, on all machines.
//!
//! It is membership of group `aegis.dead-letters` with all partitions of `dead-letter`. The log moves the group's position in
//! the commit that appends facts, and refuses that commit when the seat was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{LetterFact, topics};
use stream::log::{Commit, CommitError, Member, MemberEvent};
use stream::progress::KIND_HEADER;
use stream::{Log, NewRecord, Offset, TopicPartition};

use super::LetterId;
use crate::cli::Exit;

const GROUP: &str = "aegis.dead-letters";
/// How long to wait for another one's seat. A broker takes some seconds to hand partitions over.
const TURN: Duration = Duration::from_secs(45);
/// How long a member waits for partition 0 when it was given others.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it stays away then: enough for the other one's share to grow to all.
const STEP_BACK: std::ops::Range<Duration> = Duration::from_secs(1)..Duration::from_secs(4);
/// One wait for the group.
const POLL: Duration = Duration::from_millis(200);

/// A record to append, and what to say about the letters it was for.
pub struct Job {
    pub record: Option<(TopicPartition, NewRecord)>,
    pub facts: Vec<(LetterId, LetterFact)>,
}

/// See the module's header.
pub struct Seat {
    log: Arc<dyn Log>,
    member: Box<dyn Member>,
}

impl Seat {
    /// Waits for it; gives up while somebody else stays.
    ///
    /// A group shares its partitions out evenly, so two who wait for all of them would each wait for the other's. Partition 0
    /// decides: who was given others and not that one steps back, and comes again after a while.
    pub async fn take(log: &Arc<dyn Log>) -> anyhow::Result<Self> {
        let all = log.partitions(topics::DEAD_LETTER).await? as usize;
        let until = tokio::time::Instant::now() + TURN;
        loop {
            let mut member = log.join(GROUP, &[topics::DEAD_LETTER.into()]).await?;
            let owned = gather(log, member.as_mut(), all, until).await?;
            if owned == all {
                return Ok(Seat {
                    log: log.clone(),
                    member,
                });
            }
            let left = member.leave().await;
            if tokio::time::Instant::now() >= until {
                return Err(Exit::Unavailable.because(format!(
                    "somebody else is at the dead letters: {owned} of {all} partitions came free within {} s; try again",
                    TURN.as_secs()
                )));
            }
            left?;
            tokio::time::sleep(rand::random_range(STEP_BACK)).await;
        }
    }

    /// Everything of `jobs` or nothing. `ends`: what of each partition of letters is known.
    pub async fn commit(&mut self, jobs: &[Job], ends: &[Offset]) -> Result<(), CommitError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut outputs: Vec<(TopicPartition, Vec<NewRecord>)> = Vec::new();
        let mut positions = BTreeMap::new();
        for job in jobs {
            outputs.extend(job.record.iter().map(|(to, record)| (to.clone(), vec![record.clone()])));
            for (id, fact) in &job.facts {
                let letters = TopicPartition::new(topics::DEAD_LETTER, id.partition);
                let record = fact_record(fact).map_err(|e| CommitError::Aborted(e.to_string()))?;
                outputs.push((letters.clone(), vec![record]));
                // It rises with every deed, because each appends a fact: so it tells whether a commit happened.
                positions.insert(letters, ends.get(id.partition as usize).copied().unwrap_or_default());
            }
        }
        let positions: Vec<_> = positions.into_iter().collect();
        let commit = Commit {
            outputs,
            positions: positions.clone(),
        };
        let answer = self.member.commit(commit).await;
        match answer {
            Err(CommitError::Unknown(cause)) => {
                let (partition, position) = &positions[0];
                match self.log.committed(GROUP, partition).await {
                    Ok(Some(stored)) if stored == *position => {}
                    Ok(_) => return Err(CommitError::Aborted(cause)),
                    Err(_) => return Err(CommitError::Unknown(cause)),
                }
            }
            other => other?,
        }
        let synced = self.log.sync().await;
        synced.map_err(|error| CommitError::Unknown(error.to_string()))
    }
    /// Lets others have it.
    pub async fn leave(mut self) -> anyhow::Result<()> {
        Ok(self.member.leave().await?)
    }
}

/// How many partitions `member` was given in the end: all of them, or what it had when waiting on made no sense.
async fn gather(
    log: &Arc<dyn Log>,
    member: &mut dyn Member,
    all: usize,
    until: tokio::time::Instant,
) -> anyhow::Result<usize> {
    let mut owned = BTreeSet::new();
    let mut without_first: Option<tokio::time::Instant> = None;
    while owned.len() < all {
        match member.next(POLL).await? {
            Some(MemberEvent::Assigned(partitions)) => {
                for (partition, _) in partitions {
                    // Letters are read with readers outside the group; nothing need be fetched here.
                    let end = log.bounds(&partition).await?.end;
                    member.seek(&partition, end).await?;
                    owned.insert(partition.partition);
                }
            }
            Some(MemberEvent::Revoked(gone) | MemberEvent::Lost(gone)) => {
                gone.iter().for_each(|partition| {
                    owned.remove(&partition.partition);
                });
            }
            Some(MemberEvent::Fetched { .. } | MemberEvent::Drained) | None => {}
        }
        let now = tokio::time::Instant::now();
        if owned.is_empty() || owned.contains(&0) {
            without_first = None;
        } else if now >= *without_first.get_or_insert(now) + PATIENCE {
            break;
        }
        if now >= until {
            break;
        }
    }
    Ok(owned.len())
}

fn fact_record(fact: &LetterFact) -> serde_json::Result<NewRecord> {
    Ok(NewRecord {
        key: None,
        value: serde_json::to_vec(fact)?.into(),
        headers: vec![(KIND_HEADER.to_owned(), Bytes::from_static(LetterFact::KIND.as_bytes()))],
        timestamp: stream::Instant::from_datetime(fact.at),
    })
}
