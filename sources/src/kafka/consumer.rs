//! The thread of a group member: polls the client, answers rebalances, fills the member's inbox.
//!
//! Each partition has a queue of its own, because the client reports the end of a partition by its number without
//! its topic. A rebalance waits, with the untouched partitions read on, until the driver was told and came back
//! (its next call of `next`), but at most half a session: then the partitions go without it, as lost.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset as RawOffset, TopicPartitionList};
use stream::log::{LogError, MemberEvent, Offset, Topic, TopicPartition};
use tokio::time::Instant;

use super::Inner;
use super::catalog::served;
use super::context::{MemberContext, Rebalance};
use super::convert::{Page, from_kafka, offset, partition_number, raw_offset, seals};
use super::error::{log_error, needs_a_person, unknown_partition};
use super::line::Lookout;
use super::lock;
use super::member::{Inbox, Part, SeekRequest, Shared};

pub(super) type Client = BaseConsumer<MemberContext>;

/// Longest sleep without a sign from the client; it signals, this is for what it forgets to.
const TICK: Duration = Duration::from_millis(100);
/// One question to the group's coordinator, asked again until answered.
const ASK: Duration = Duration::from_secs(5);
/// A seek waits this long for a partition that is just being started.
const SEEK: Duration = Duration::from_secs(2);
/// Records and bytes taken from one partition before the next has its turn.
const TURN_RECORDS: usize = 4_096;
const TURN_BYTES: usize = 1 << 20;
/// Bytes in the inbox beyond which nothing is fetched: what a slow driver holds in memory.
const INBOX_BYTES: usize = 4 << 20;

/// Wakes the thread. Its lock is never held while the client is called, which wakes it from under its own locks.
#[derive(Default)]
pub(super) struct Waker {
    woken: Mutex<bool>,
    signal: Condvar,
}

impl Waker {
    pub fn wake(&self) {
        *lock(&self.woken) = true;
        self.signal.notify_one();
    }

    fn wait(&self) {
        let woken = lock(&self.woken);
        let waited = self.signal.wait_timeout_while(woken, TICK, |woken| !*woken);
        *waited.unwrap_or_else(std::sync::PoisonError::into_inner).0 = false;
    }
}

pub(super) struct Worker {
    pub inner: Arc<Inner>,
    pub client: Arc<Client>,
    pub shared: Arc<Shared>,
    slots: BTreeMap<TopicPartition, Slot>,
    handover: Option<Handover>,
    /// Whose turn it is.
    turn: usize,
    lookout: Lookout,
    page: Page,
    group: String,
    part: Part,
}

/// A partition that is being read.
struct Slot {
    queue: PartitionQueue<MemberContext>,
    /// Next offset expected, for the report when it is gone.
    position: Offset,
    at_end: bool,
    /// To be revoked: nothing is handed out any more.
    leaving: bool,
}

/// A rebalance that waits for the driver.
enum Handover {
    /// The committed positions are not known yet.
    Asking(Vec<TopicPartition>),
    Assigning {
        partitions: Vec<(TopicPartition, Option<Offset>)>,
        ticket: u64,
        until: Instant,
    },
    Revoking {
        partitions: Vec<TopicPartition>,
        ticket: u64,
        until: Instant,
    },
}

impl Worker {
    pub fn new(inner: Arc<Inner>, client: Arc<Client>, shared: Arc<Shared>, group: &str, part: Part) -> Self {
        shared.wait_for(format!(
            "waits until the coordinator of group {group} gives it partitions"
        ));
        Worker {
            group: group.to_owned(),
            part,
            inner,
            client,
            shared,
            slots: BTreeMap::new(),
            handover: None,
            turn: 0,
            lookout: Lookout::default(),
            page: Page::default(),
        }
    }

    pub fn subscribe(&self, topics: &[Topic]) -> Result<(), KafkaError> {
        let names: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
        self.client.subscribe(&names)
    }

    /// Until the member leaves. Dropping the client then leaves the group.
    pub fn run(mut self) {
        while !lock(&self.shared.inbox).leaving {
            self.serve_client();
            self.serve_rebalance();
            self.serve_seeks();
            // Who has lost all brokers waits for ever; the driver joins with another client.
            if self.lookout.due(self.shared.waited()) && self.inner.catalog.has_lost(self.client.client()) {
                self.shared.astray.store(true, Ordering::SeqCst);
            }
            if !self.fetch() {
                self.shared.waker.wait();
            }
        }
        self.client.context().close();
        self.shared.ownership.close();
        self.answer_for_leaving();
        self.slots.clear();
        let shared = self.shared.clone();
        drop(self);
        shared.left.notify_one();
    }

    /// The client does not close before a rebalance it asked about is answered.
    fn answer_for_leaving(&mut self) {
        let waiting = self.handover.take().map(|handover| match handover {
            Handover::Asking(_) | Handover::Assigning { .. } => Vec::new(),
            Handover::Revoking { partitions, .. } => partitions,
        });
        let queued = std::iter::from_fn(|| self.client.context().take_rebalance());
        let queued: Vec<_> = queued
            .map(|rebalance| match rebalance {
                Rebalance::Assign(_) => Vec::new(),
                Rebalance::Revoke { partitions, .. } => partitions,
            })
            .collect();
        for revoked in waiting.into_iter().chain(queued) {
            if revoked.is_empty() {
                self.assign(&[]);
            } else {
                self.unassign(&revoked);
            }
        }
    }

    fn serve_client(&mut self) {
        for error in served(&self.client).filter_map(Result::err) {
            self.report(&error, None);
        }
    }

    fn serve_rebalance(&mut self) {
        if self.handover.is_none()
            && let Some(rebalance) = self.client.context().take_rebalance()
        {
            self.handover = match rebalance {
                Rebalance::Assign(partitions) if partitions.is_empty() => self.assign(&[]),
                Rebalance::Assign(partitions) => Some(Handover::Asking(partitions)),
                Rebalance::Revoke { partitions, lost: true } => self.lost(&partitions),
                Rebalance::Revoke {
                    partitions,
                    lost: false,
                } => self.revoking(partitions),
            };
        }
        self.handover = match self.handover.take() {
            Some(Handover::Asking(partitions)) => self.ask(partitions),
            Some(Handover::Assigning {
                partitions,
                ticket,
                until,
            }) => {
                if self.answered(ticket) || Instant::now() >= until {
                    self.assign(&partitions)
                } else {
                    Some(Handover::Assigning {
                        partitions,
                        ticket,
                        until,
                    })
                }
            }
            Some(Handover::Revoking {
                partitions,
                ticket,
                until,
            }) => {
                if self.answered(ticket) {
                    self.shared.ownership.give_up(&partitions);
                    self.unassign(&partitions)
                } else if Instant::now() >= until {
                    tracing::warn!(?partitions, "the driver did not answer a revocation in half a session");
                    self.lost(&partitions)
                } else {
                    Some(Handover::Revoking {
                        partitions,
                        ticket,
                        until,
                    })
                }
            }
            None => None,
        };
    }

    fn answered(&self, ticket: u64) -> bool {
        lock(&self.shared.inbox).answered >= ticket
    }

    fn patience(&self) -> Instant {
        Instant::now() + self.inner.settings.session_timeout() / 2
    }

    /// Looks up where the group stands, then tells the driver.
    fn ask(&mut self, partitions: Vec<TopicPartition>) -> Option<Handover> {
        let positions = match self.committed(&partitions) {
            Ok(positions) => positions,
            Err(error) => {
                tracing::debug!(%error, "positions of the group not known yet");
                let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
                // An open transaction that moves them ends by itself, or by its owner; see `transaction::seal` for the one
                // case in which it does not.
                self.shared.wait_for(format!(
                    "waits for the committed positions of group {} in {} ({error}); if this lasts for minutes with the \
                     broker well, a transaction of a process that is gone has lost its end: \
                     kafka-transactions.sh find-hanging names it",
                    self.group,
                    names.join(", ")
                ));
                self.report(&error, None);
                return Some(Handover::Asking(partitions));
            }
        };
        self.shared.ownership.take(&positions);
        let ticket = self.shared.tell(MemberEvent::Assigned(positions.clone()));
        Some(Handover::Assigning {
            partitions: positions,
            ticket,
            until: self.patience(),
        })
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Option<Offset>)>, KafkaError> {
        if self.part == Part::Follower {
            return Ok(partitions.iter().map(|partition| (partition.clone(), None)).collect());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.topic, number(partition));
        }
        let list = self.client.committed_offsets(list, ASK)?;
        let mut positions = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let found = list.find_partition(&partition.topic, number(partition));
            let committed = match &found {
                Some(element) => {
                    element.error()?;
                    element.offset()
                }
                None => RawOffset::Invalid,
            };
            let committed = if let RawOffset::Offset(raw) = committed {
                offset(raw)
            } else {
                None
            };
            positions.push((partition.clone(), committed));
        }
        Ok(positions)
    }

    /// Starts reading. Also answers an empty assignment, which the client waits for like any other.
    fn assign(&mut self, partitions: &[(TopicPartition, Option<Offset>)]) -> Option<Handover> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (partition, committed) in partitions {
            let from = committed.map_or(RawOffset::Beginning, |offset| RawOffset::Offset(raw_offset(offset)));
            if let Err(error) = list.add_partition_offset(&partition.topic, number(partition), from) {
                tracing::warn!(%error, %partition, "assigning");
            }
            // Before the assignment: what is fetched first must not land in the common queue.
            if let Some(mut queue) = self.client.split_partition_queue(&partition.topic, number(partition)) {
                let waker = self.shared.waker.clone();
                queue.set_nonempty_callback(move || waker.wake());
                let position = committed.unwrap_or_default();
                self.slots.insert(
                    partition.clone(),
                    Slot {
                        queue,
                        position,
                        at_end: false,
                        leaving: false,
                    },
                );
            }
        }
        match self.client.incremental_assign(&list) {
            Ok(()) => self.shared.wait_no_more(),
            Err(error) => tracing::warn!(%error, "the client refused an assignment; the group will give another"),
        }
        None
    }

    fn revoking(&mut self, partitions: Vec<TopicPartition>) -> Option<Handover> {
        for partition in &partitions {
            if let Some(slot) = self.slots.get_mut(partition) {
                slot.leaving = true;
            }
        }
        lock(&self.shared.inbox).forget(&partitions);
        let ticket = self.shared.tell(MemberEvent::Revoked(partitions.clone()));
        Some(Handover::Revoking {
            partitions,
            ticket,
            until: self.patience(),
        })
    }

    fn lost(&mut self, partitions: &[TopicPartition]) -> Option<Handover> {
        self.shared.ownership.lose(partitions);
        lock(&self.shared.inbox).forget(partitions);
        self.shared.tell_lost(partitions.to_vec());
        self.shared.wait_for(format!(
            "lost its partitions and waits until the coordinator of group {} gives it others",
            self.group
        ));
        self.unassign(partitions)
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Option<Handover> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            self.slots.remove(partition);
            list.add_partition(&partition.topic, number(partition));
        }
        if let Err(error) = self.client.incremental_unassign(&list) {
            tracing::warn!(%error, "the client refused to give up partitions");
        }
        None
    }

    fn serve_seeks(&mut self) {
        let requests = std::mem::take(&mut lock(&self.shared.inbox).seeks);
        for SeekRequest { partition, to, answer } in requests {
            let outcome = self.seek(&partition, to);
            let _ = answer.send(outcome);
        }
    }

    fn seek(&mut self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        let doing = || format!("seeking {partition} to {}", to.0);
        if let Some(Handover::Assigning { partitions, .. }) = &mut self.handover
            && let Some(entry) = partitions.iter_mut().find(|(assigned, _)| assigned == partition)
        {
            entry.1 = Some(to);
            return Ok(());
        }
        let Some(slot) = self.slots.get_mut(partition).filter(|slot| !slot.leaving) else {
            let cause = "it is not assigned to this member".to_owned();
            return Err(LogError::Unavailable { doing: doing(), cause });
        };
        slot.at_end = false;
        slot.position = to;
        let target = RawOffset::Offset(raw_offset(to));
        let deadline = Instant::now() + SEEK;
        while let Err(error) = self.client.seek(&partition.topic, number(partition), target, ASK) {
            if Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            // Reading stopped (its position was gone): only a new assignment starts it again. Not while the client
            // waits for the answer to a rebalance, for which it would take this one.
            if self.handover.is_some() {
                return Err(log_error(doing(), &error));
            }
            self.unassign(std::slice::from_ref(partition));
            self.assign(&[(partition.clone(), Some(to))]);
            break;
        }
        let mut inbox = lock(&self.shared.inbox);
        inbox.forget(std::slice::from_ref(partition));
        inbox.all_at_end = false;
        Ok(())
    }

    /// Moves what was fetched into the inbox, partitions in turn. True when there may be more.
    fn fetch(&mut self) -> bool {
        let mut moved = false;
        let mut full = false;
        let mut errors = Vec::new();
        let turn: Vec<TopicPartition> = self.slots.keys().cloned().collect();
        for step in 0..turn.len() {
            let partition = &turn[(self.turn + step) % turn.len()];
            if lock(&self.shared.inbox).bytes >= INBOX_BYTES {
                full = true;
                self.turn = (self.turn + step) % turn.len();
                break;
            }
            let Some(slot) = self.slots.get_mut(partition).filter(|slot| !slot.leaving) else {
                continue;
            };
            let (mut records, mut bytes) = (Vec::new(), 0);
            while records.len() < TURN_RECORDS && bytes < TURN_BYTES {
                match slot.queue.poll(Duration::ZERO) {
                    None => break,
                    Some(Ok(message)) => {
                        let record = from_kafka(&message, &mut self.page);
                        slot.position = Offset(record.offset.0 + 1);
                        slot.at_end = false;
                        if !seals(&record) {
                            bytes += record.size();
                            records.push(record);
                        }
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) => slot.at_end = true,
                    Some(Err(error)) => errors.push((error, partition.clone(), slot.position)),
                }
            }
            if !records.is_empty() {
                moved = true;
                lock(&self.shared.inbox).push(partition.clone(), records, bytes);
                self.shared.arrived.notify_one();
            }
        }
        for (error, partition, position) in errors {
            self.report(&error, Some((partition, position)));
        }
        let reading = !self.slots.is_empty() && self.handover.is_none() && !full && !moved;
        let all_at_end = reading && self.slots.values().all(|slot| slot.at_end);
        let mut inbox = lock(&self.shared.inbox);
        if inbox.all_at_end != all_at_end {
            inbox.all_at_end = all_at_end;
            self.shared.arrived.notify_one();
        }
        inbox.reading = !self.slots.is_empty();
        let ended = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.at_end)
            .map(|(partition, _)| partition);
        if !ended.clone().eq(inbox.at_end.iter()) {
            inbox.at_end = ended.cloned().collect();
        }
        moved
    }

    /// Tells the driver what it must know; the client mends the rest by itself.
    fn report(&self, error: &KafkaError, at: Option<(TopicPartition, Offset)>) {
        let code = error.rdkafka_error_code();
        let failure = match (code, at) {
            (Some(Code::AutoOffsetReset | Code::OffsetOutOfRange), Some((partition, offset))) => {
                match self.inner.catalog.bounds(&partition) {
                    Ok(bounds) => LogError::OutOfRange {
                        partition,
                        offset,
                        start: bounds.start,
                    },
                    Err(error) => error,
                }
            }
            (Some(code), _) if needs_a_person(code) => log_error("reading as a group member", error),
            (Some(code), Some((partition, _))) if unknown_partition(code) && !self.inner.catalog.seen(&partition) => {
                LogError::UnknownPartition(partition)
            }
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                log_error("reading as a group member", error)
            }
            _ => {
                tracing::debug!(%error, "group member goes on");
                return;
            }
        };
        let mut inbox: std::sync::MutexGuard<'_, Inbox> = lock(&self.shared.inbox);
        inbox.error.get_or_insert(failure);
        drop(inbox);
        self.shared.arrived.notify_one();
    }
}

/// Partitions come from the client, so the number always fits.
fn number(partition: &TopicPartition) -> i32 {
    partition_number(partition).unwrap_or(i32::MAX)
}
