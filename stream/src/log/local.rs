//! Members and readers over a log of this process: the half that the memory and the embedded log share.
//!
//! A store keeps records; this file turns it into [`Member`] and [`Reader`]: fair rotation over partitions,
//! waiting without polling, hand-over of partitions, the end of the input. Positions move only in the same step in
//! which an event is returned, so a dropped `next` loses nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::membership::{Group, MemberId, lock};
use super::{Bounds, Commit, CommitError, LogError, Member, MemberEvent, Offset, Reader, Record, TopicPartition};

/// Most records handed out at once: more adds latency to the first, fewer pays the hand-over too often.
pub const FETCH_RECORDS: usize = 4_096;
/// Most bytes handed out at once (one record may be larger); bounds what a slow stage holds in memory.
pub const FETCH_BYTES: usize = 4 << 20;

/// What a local log must offer.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Visible records from `from` on, at least one if there is one, within the limits otherwise. Empty at the
    /// end. [`LogError::OutOfRange`] below the start.
    async fn fetch(&self, partition: &TopicPartition, from: Offset, limit: FetchLimit)
    -> Result<Vec<Record>, LogError>;

    fn bounds(&self, partition: &TopicPartition) -> Result<Bounds, LogError>;

    /// Do all of `commit` or nothing, if the group allows it.
    async fn commit(&self, seat: &Seat, commit: Commit) -> Result<(), CommitError>;

    /// Notified (all waiters) after every change that a member or reader could be waiting for.
    fn changed(&self) -> &Notify;

    /// Waits; the simulated log has a time of its own.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// How much one fetch may return.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimit {
    pub records: usize,
    pub bytes: usize,
}

/// A member's place in its group.
#[derive(Clone, Debug)]
pub struct Seat {
    pub group_name: Arc<str>,
    pub group: Arc<Mutex<Group>>,
    pub member: MemberId,
}

/// A group member over a [`Store`]. Dropping it leaves the group.
pub struct LocalMember<S: Store> {
    store: Arc<S>,
    seat: Seat,
    /// Assigned partitions and their fetch positions; `None` is "from the start".
    assigned: Vec<(TopicPartition, Option<Offset>)>,
    /// Whose turn it is.
    turn: usize,
    drained: bool,
}

impl<S: Store> LocalMember<S> {
    pub fn join(store: Arc<S>, group_name: &str, group: Arc<Mutex<Group>>, wants: Vec<TopicPartition>) -> Self {
        let member = lock(&group).join(wants);
        store.changed().notify_waiters();
        let seat = Seat {
            group_name: group_name.into(),
            group,
            member,
        };
        LocalMember {
            store,
            seat,
            assigned: Vec::new(),
            turn: 0,
            drained: false,
        }
    }

    fn group_event(&mut self) -> Result<Option<MemberEvent>, LogError> {
        let (event, wake) = {
            let mut group = lock(&self.seat.group);
            if !group.contains(self.seat.member) {
                let doing = format!("reading as a member of group {}", self.seat.group_name);
                return Err(LogError::Fatal {
                    doing,
                    cause: "the member has left".to_owned(),
                });
            }
            group.poll(self.seat.member)
        };
        if wake.0 {
            self.store.changed().notify_waiters();
        }
        match &event {
            Some(MemberEvent::Assigned(partitions)) => {
                self.assigned.extend(partitions.iter().cloned());
                self.drained = false;
            }
            Some(MemberEvent::Revoked(gone) | MemberEvent::Lost(gone)) => {
                self.assigned.retain(|(partition, _)| !gone.contains(partition));
            }
            _ => {}
        }
        Ok(event)
    }

    async fn fetched(&mut self) -> Result<Option<MemberEvent>, LogError> {
        let count = self.assigned.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let (partition, position) = &self.assigned[index];
            let from = match position {
                Some(offset) => *offset,
                None => self.store.bounds(partition)?.start,
            };
            let limit = FetchLimit {
                records: FETCH_RECORDS,
                bytes: FETCH_BYTES,
            };
            let records = self.store.fetch(partition, from, limit).await?;
            let Some(last) = records.last() else { continue };
            let partition = partition.clone();
            self.assigned[index].1 = Some(Offset(last.offset.0 + 1));
            self.turn = index + 1;
            self.drained = false;
            return Ok(Some(MemberEvent::Fetched { partition, records }));
        }
        Ok(None)
    }
}

#[async_trait]
impl<S: Store> Member for LocalMember<S> {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<MemberEvent>, LogError> {
        let mut waited = self.store.sleep(max_wait);
        let store = self.store.clone();
        loop {
            // Made before looking, so that a change between looking and waiting still wakes us.
            let changed = store.changed().notified();
            if let Some(event) = self.group_event()? {
                return Ok(Some(event));
            }
            if let Some(event) = self.fetched().await? {
                return Ok(Some(event));
            }
            let reading = !self.assigned.is_empty();
            if reading && !self.drained {
                self.drained = true;
                return Ok(Some(MemberEvent::Drained));
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = &mut waited => return Ok(reading.then_some(MemberEvent::Drained)),
            }
        }
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        let Some(entry) = self.assigned.iter_mut().find(|(assigned, _)| assigned == partition) else {
            let doing = format!("seeking {partition} to {}", to.0);
            return Err(LogError::Unavailable {
                doing,
                cause: "it is not assigned to this member".to_owned(),
            });
        };
        entry.1 = Some(to);
        self.drained = false;
        Ok(())
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        self.store.commit(&self.seat, commit).await
    }

    async fn leave(&mut self) -> Result<(), LogError> {
        self.assigned.clear();
        lock(&self.seat.group).leave(self.seat.member);
        self.store.changed().notify_waiters();
        Ok(())
    }
}

impl<S: Store> Drop for LocalMember<S> {
    fn drop(&mut self) {
        lock(&self.seat.group).leave(self.seat.member);
        self.store.changed().notify_waiters();
    }
}

/// Reads one partition of a [`Store`], outside any group.
pub struct LocalReader<S: Store> {
    store: Arc<S>,
    partition: TopicPartition,
    position: Offset,
}

impl<S: Store> LocalReader<S> {
    /// Refuses a partition that does not exist and a position that is gone.
    pub fn open(store: Arc<S>, partition: &TopicPartition, from: Offset) -> Result<Self, LogError> {
        let start = store.bounds(partition)?.start;
        if from < start {
            return Err(LogError::OutOfRange {
                partition: partition.clone(),
                offset: from,
                start,
            });
        }
        Ok(LocalReader {
            store,
            partition: partition.clone(),
            position: from,
        })
    }
}

#[async_trait]
impl<S: Store> Reader for LocalReader<S> {
    async fn read(&mut self, max_records: usize, max_wait: Duration) -> Result<(Vec<Record>, Offset), LogError> {
        let mut waited = self.store.sleep(max_wait);
        let limit = FetchLimit {
            records: max_records,
            bytes: FETCH_BYTES,
        };
        loop {
            let changed = self.store.changed().notified();
            let records = self.store.fetch(&self.partition, self.position, limit).await?;
            if let Some(last) = records.last() {
                self.position = Offset(last.offset.0 + 1);
                return Ok((records, self.position));
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = &mut waited => return Ok((Vec::new(), self.position)),
            }
        }
    }
}
