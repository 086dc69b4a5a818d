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
    pub async fn take(log: &Arc<dyn Log>) -> anyhow::Result<Self> {
        let all = log.partitions(topics::DEAD_LETTER).await? as usize;
        let mut member = log.join(GROUP, &[topics::DEAD_LETTER.into()]).await?;
        let mut owned = BTreeSet::new();
        let until = tokio::time::Instant::now() + TURN;
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
            if owned.len() < all && tokio::time::Instant::now() >= until {
                let _ = member.leave().await;
                return Err(Exit::Unavailable.because(format!(
                    "somebody else is at the dead letters: {} of {all} partitions came free within {} s; try again",
                    owned.len(),
                    TURN.as_secs()
                )));
            }
        }
        Ok(Seat {
            log: log.clone(),
            member,
        })
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

fn fact_record(fact: &LetterFact) -> serde_json::Result<NewRecord> {
    Ok(NewRecord {
        key: None,
        value: serde_json::to_vec(fact)?.into(),
        headers: vec![(KIND_HEADER.to_owned(), Bytes::from_static(LetterFact::KIND.as_bytes()))],
        timestamp: stream::Instant::from_datetime(fact.at),
    })
}
