//! The desk: what can be asked about letters, and done about them.
//!
//! A deed is one commit: the records that are sent again, and the facts behind the letters. The desk takes the seat with its
//! first deed and keeps it until it leaves; that is what keeps two of them from sending a letter twice.

use std::collections::{BTreeMap, BinaryHeap};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use model::{DeadLetter, LetterDone, LetterFact, topics};
use stream::log::CommitError;
use stream::{Clock, Log, LogError, Offset, TopicPartition};

use super::redrive::Parcel;
use super::scan::{Facts, letter_of, letters};
use super::seat::{Job, Seat};
use super::{Chosen, Deed, Entry, Filter, LetterId, Outcome, Skipped, Status, Whole};
use crate::cli::Exit;
use crate::scan::scan;

/// See the module's header.
pub struct Desk {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    facts: Facts,
    seat: Option<Seat>,
}

/// Letters with their bytes, by id.
type Read = BTreeMap<LetterId, DeadLetter>;

impl Desk {
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Self {
        Desk {
            log,
            clock,
            facts: Facts::default(),
            seat: None,
        }
    }

    /// The newest `limit` letters that `filter` lets through, newest first.
    pub async fn list(&mut self, filter: &Filter, limit: usize) -> anyhow::Result<Vec<Entry>> {
        self.facts.catch_up(&self.log).await?;
        // The oldest of those kept is on top.
        let mut newest: BinaryHeap<std::cmp::Reverse<Newer>> = BinaryHeap::new();
        letters(&self.log, &self.facts, filter, |entry| {
            newest.push(std::cmp::Reverse(Newer(entry)));
            if newest.len() > limit {
                newest.pop();
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(newest.into_sorted_vec().into_iter().map(|entry| entry.0.0).collect())
    }

    /// Every letter that `filter` lets through, in the order of the log.
    pub async fn select(&mut self, filter: &Filter) -> anyhow::Result<Vec<Chosen>> {
        self.facts.catch_up(&self.log).await?;
        let mut chosen = Vec::new();
        letters(&self.log, &self.facts, filter, |entry| {
            chosen.push(Chosen {
                id: entry.id,
                bytes_in: entry.bytes_in,
            });
            ControlFlow::Continue(())
        })
        .await?;
        Ok(chosen)
    }

    /// All of one letter; `None` when there is none of that name.
    pub async fn show(&mut self, id: LetterId) -> anyhow::Result<Option<Whole>> {
        self.facts.catch_up(&self.log).await?;
        let filter = Filter {
            ids: vec![id],
            ..Filter::default()
        };
        let mut found = None;
        letters(&self.log, &self.facts, &filter, |entry| {
            found = Some(entry);
            ControlFlow::Break(())
        })
        .await?;
        let Some(entry) = found else { return Ok(None) };
        let chosen = Chosen {
            id,
            bytes_in: entry.bytes_in,
        };
        let mut read = self.read(&[chosen]).await?;
        let body_base64 = entry
            .bytes_in
            .and_then(|carrier| Some(read.get(&carrier)?.body_base64.clone()));
        let headers = read.remove(&id).map(|letter| letter.headers).unwrap_or_default();
        Ok(Some(Whole {
            entry,
            headers,
            body_base64,
        }))
    }

    /// Does `deed` to letters that [`Desk::select`] found, at most [`super::PIECE`] of them. Letters that were dealt with
    /// are left alone unless `again`.
    pub async fn act(&mut self, chosen: &[Chosen], deed: &Deed, again: bool) -> anyhow::Result<Outcome> {
        if self.seat.is_none() {
            self.seat = Some(Seat::take(&self.log).await?);
        }
        // Behind the seat: what another desk did until it left is known now.
        let ends = self.facts.catch_up(&self.log).await?.to_vec();
        let mut outcome = Outcome::default();
        let mut wanted = Vec::new();
        for letter in chosen {
            match self.facts.status(letter.id) {
                Status::Open => wanted.push(*letter),
                Status::Replayed if again => wanted.push(*letter),
                Status::Dropped if again && *deed == Deed::Replay => wanted.push(*letter),
                status => outcome.skipped.push(Skipped {
                    id: letter.id,
                    because: format!("it is {} already", status.as_str()),
                }),
            }
        }
        wanted.sort_by_key(|letter| letter.id);
        wanted.dedup();
        let jobs = self.jobs(&wanted, deed, &mut outcome).await?;
        match self.commit(&jobs, &ends).await {
            Ok(()) => outcome.done(&jobs),
            Err(CommitError::Aborted(_)) if jobs.len() > 1 => {
                // One of them may be what the log refuses: the others need not wait for it.
                for job in jobs {
                    let ends = self.facts.catch_up(&self.log).await?.to_vec();
                    let one = std::slice::from_ref(&job);
                    match self.commit(one, &ends).await {
                        Ok(()) => outcome.done(one),
                        Err(CommitError::Aborted(cause)) => {
                            outcome.leave(&job, &format!("the log refused it: {cause}"))
                        }
                        Err(error) => return Err(lost_turn(&error)),
                    }
                }
            }
            Err(CommitError::Aborted(cause)) if jobs.len() == 1 => {
                outcome.leave(&jobs[0], &format!("the log refused it: {cause}"));
            }
            Err(error) => return Err(lost_turn(&error)),
        }
        Ok(outcome)
    }

    /// Lets others have the letters.
    pub async fn leave(&mut self) -> anyhow::Result<()> {
        match self.seat.take() {
            Some(seat) => seat.leave().await,
            None => Ok(()),
        }
    }

    async fn commit(&mut self, jobs: &[Job], ends: &[Offset]) -> Result<(), CommitError> {
        match &mut self.seat {
            Some(seat) => seat.commit(jobs, ends).await,
            None => Err(CommitError::Fenced("the desk has left".to_owned())),
        }
    }

    /// The letters named, and those that carry their bytes.
    async fn read(&mut self, chosen: &[Chosen]) -> anyhow::Result<Read> {
        let mut places: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for id in chosen
            .iter()
            .flat_map(|letter| [Some(letter.id), letter.bytes_in])
            .flatten()
        {
            places.entry(id.partition).or_default().push(id.offset);
        }
        let mut read = Read::new();
        for (number, mut offsets) in places {
            offsets.sort_unstable();
            let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
                continue;
            };
            let partition = TopicPartition::new(topics::DEAD_LETTER, number);
            let bounds = self.log.bounds(&partition).await?;
            let from = Offset(*first).max(bounds.start);
            let to = Offset(last.saturating_add(1)).min(bounds.end);
            scan(&self.log, &partition, from, to, |record| {
                if offsets.binary_search(&record.offset.0).is_ok()
                    && let Some(letter) = letter_of(record)
                {
                    let offset = record.offset.0;
                    read.insert(
                        LetterId {
                            partition: number,
                            offset,
                        },
                        letter,
                    );
                }
                ControlFlow::Continue(())
            })
            .await?;
        }
        Ok(read)
    }

    /// What is to be appended: one job per record that is sent again, or per letter that is dropped.
    async fn jobs(&mut self, wanted: &[Chosen], deed: &Deed, outcome: &mut Outcome) -> anyhow::Result<Vec<Job>> {
        let mut read = self.read(wanted).await?;
        let at = self.clock.now();
        let fact = |id: LetterId, done: LetterDone| {
            (
                id,
                LetterFact {
                    schema: LetterFact::SCHEMA,
                    letter: id.offset,
                    done,
                    at: at.to_datetime(),
                },
            )
        };
        if let Deed::Drop { because } = deed {
            let dropped = |letter: &Chosen| Job {
                record: None,
                facts: vec![fact(
                    letter.id,
                    LetterDone::Dropped {
                        because: because.clone(),
                    },
                )],
            };
            return Ok(wanted.iter().map(dropped).collect());
        }
        // By reader and record, so that letters of one record go together; tries of different counts do not.
        let mut parcels: BTreeMap<(String, String, u32, u64, u32), Parcel> = BTreeMap::new();
        for Chosen { id, bytes_in } in wanted {
            let body = bytes_in.and_then(|carrier| body_of(read.get(&carrier)?, read.get(id)?));
            let (Some(body), Some(letter)) = (body, read.get(id)) else {
                outcome.skipped.push(Skipped {
                    id: *id,
                    because: "its bytes are gone: the letter that carried them lies before the log's start".to_owned(),
                });
                continue;
            };
            let tries = self.facts.of(*id).iter();
            let tries = tries
                .filter(|fact| matches!(fact.done, LetterDone::Replayed { .. }))
                .count() as u32;
            let attempt = letter.attempt.saturating_add(tries).saturating_add(1);
            let record = (
                letter.stage.clone(),
                letter.topic.clone(),
                letter.partition,
                letter.offset,
                attempt,
            );
            let letter = letter.clone();
            let parcel = parcels.entry(record).or_insert_with(|| Parcel {
                letters: Vec::new(),
                body,
                attempt,
            });
            // The bytes are in the parcel.
            let bare = DeadLetter {
                body_base64: String::new(),
                ..letter
            };
            parcel.letters.push((*id, bare));
        }
        read.clear();
        let mut jobs = Vec::new();
        for ((_, topic, _, _, attempt), parcel) in parcels {
            let target = match self.log.partitions(&topic).await {
                Ok(partitions) => parcel.target(partitions),
                Err(LogError::UnknownTopic(_)) => Err(format!("topic {topic} does not exist any more")),
                Err(error) => return Err(error).context("looking for where the letters came from"),
            };
            let done = |to: &TopicPartition| LetterDone::Replayed {
                topic: to.topic.to_string(),
                partition: to.partition,
                attempt,
            };
            match (target, parcel.record(at)) {
                (Ok(to), Some(record)) => jobs.push(Job {
                    facts: parcel.letters.iter().map(|(id, _)| fact(*id, done(&to))).collect(),
                    record: Some((to, record)),
                }),
                (Err(because), _) => outcome.skipped.extend(parcel.letters.iter().map(|(id, _)| Skipped {
                    id: *id,
                    because: because.clone(),
                })),
                (Ok(_), None) => {}
            }
        }
        Ok(jobs)
    }
}

impl Outcome {
    fn done(&mut self, jobs: &[Job]) {
        self.letters += jobs.iter().map(|job| job.facts.len() as u64).sum::<u64>();
        self.records += jobs.iter().filter(|job| job.record.is_some()).count() as u64;
    }

    fn leave(&mut self, job: &Job, because: &str) {
        let skipped = |(id, _): &(LetterId, LetterFact)| Skipped {
            id: *id,
            because: because.to_owned(),
        };
        self.skipped.extend(job.facts.iter().map(skipped));
    }
}

/// By time of receipt, then place.
#[derive(PartialEq, Eq)]
struct Newer(Entry);

impl Ord for Newer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.received_at, self.0.id).cmp(&(other.0.received_at, other.0.id))
    }
}

impl PartialOrd for Newer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The bytes that `carrier` holds for `letter`; none when they are of another record, or no base64.
fn body_of(carrier: &DeadLetter, letter: &DeadLetter) -> Option<Bytes> {
    let place = |letter: &DeadLetter| (letter.topic.clone(), letter.partition, letter.offset);
    if place(carrier) != place(letter) {
        return None;
    }
    carrier.body().ok().map(Bytes::from)
}

fn lost_turn(error: &CommitError) -> anyhow::Error {
    match error {
        CommitError::Fenced(cause) => {
            Exit::Unavailable.because(format!("somebody else took the dead letters over ({cause}): try again"))
        }
        CommitError::Aborted(cause) | CommitError::Unknown(cause) => Exit::Unavailable.because(format!(
            "it is not known whether the last letters were dealt with ({cause}): list them and see"
        )),
    }
}

/// Refuses more than goes through in one piece.
pub(super) fn check_piece(letters: usize) -> anyhow::Result<()> {
    if letters > super::PIECE {
        bail!(
            "{letters} letters at once; at most {} go through in one piece",
            super::PIECE
        );
    }
    Ok(())
}
