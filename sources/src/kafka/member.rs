//! A group member: the async half. One thread reads ([`super::consumer`]), another commits ([`super::transaction`]).
//!
//! `next` and `seek` may be dropped at any time. A `commit` that is dropped still runs; its outcome is then in the
//! group's position. Dropping the member leaves the group, in the background.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stream::health::Waits;
use stream::log::{Commit, CommitError, LogError, Member, MemberEvent, Offset, Record, Topic, TopicPartition};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::consumer::{Client, Waker, Worker};
use super::context::MemberContext;
use super::error::log_error;
use super::ownership::Ownership;
use super::transaction::{self, Job};
use super::{Inner, lock};

/// How long leaving may take; after that the group notices by the session timeout.
const LEAVE: Duration = Duration::from_secs(10);
/// Beyond two sessions without a sign from the group's coordinator: a broker that comes back needs about as long.
const STRANDED: Duration = Duration::from_secs(15);
/// Beyond what the thread itself waits for.
const SEEK: Duration = Duration::from_secs(30);
/// Records of one partition handed out at once.
const FETCH_RECORDS: usize = 4_096;

/// What a member is in its group for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It commits outputs and positions: the group's positions say where it goes on.
    Committer,
    /// It keeps its positions elsewhere.
    Follower,
}

pub(super) struct KafkaMember {
    group: String,
    shared: Arc<Shared>,
    /// `None` for a follower, and after leaving.
    commits: Option<Sender<Job>>,
    left: bool,
    stranded_after: Duration,
    /// The end was reported and nothing came since.
    told_drained: bool,
}

/// Between the member and its reading thread.
pub(super) struct Shared {
    pub inbox: Mutex<Inbox>,
    /// Something is in the inbox.
    pub arrived: Notify,
    /// The thread should look.
    pub waker: Arc<Waker>,
    pub ownership: Arc<Ownership>,
    /// The thread has left the group.
    pub left: Notify,
    /// What nothing can be read without, and since when that is so.
    pub waits: Mutex<Option<(String, Instant)>>,
    /// The client has lost its brokers while it waited.
    pub astray: AtomicBool,
}

#[derive(Default)]
pub(super) struct Inbox {
    /// Rebalances, before any records. Each with its ticket.
    control: VecDeque<(u64, MemberEvent)>,
    fetched: VecDeque<(TopicPartition, Vec<Record>, usize)>,
    /// Of `fetched`.
    pub bytes: usize,
    pub error: Option<LogError>,
    /// Ticket of the last rebalance told.
    issued: u64,
    /// Ticket of the last rebalance handed to the driver.
    handed: u64,
    /// Ticket of the last rebalance after which the driver called again.
    pub answered: u64,
    pub seeks: Vec<SeekRequest>,
    /// The thread has nothing that is not in the inbox, and each partition is at its end.
    pub all_at_end: bool,
    /// Partitions of which the thread has read everything.
    pub at_end: BTreeSet<TopicPartition>,
    /// Some partition is assigned.
    pub reading: bool,
    pub leaving: bool,
}

pub(super) struct SeekRequest {
    pub partition: TopicPartition,
    pub to: Offset,
    pub answer: oneshot::Sender<Result<(), LogError>>,
}

impl Inbox {
    /// Adds to what waits already of that partition, so that a slow driver gets few large pieces.
    pub fn push(&mut self, partition: TopicPartition, mut records: Vec<Record>, bytes: usize) {
        self.bytes += bytes;
        self.all_at_end = false;
        match self.fetched.back_mut() {
            Some((last, waiting, size)) if *last == partition && waiting.len() + records.len() <= FETCH_RECORDS => {
                waiting.append(&mut records);
                *size += bytes;
            }
            _ => self.fetched.push_back((partition, records, bytes)),
        }
    }

    /// Drops fetched records of `partitions`.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        self.fetched.retain(|(partition, _, _)| !partitions.contains(partition));
        self.bytes = self.fetched.iter().map(|(_, _, bytes)| bytes).sum();
    }

    fn drained(&self) -> bool {
        self.all_at_end && self.reading && self.fetched.is_empty() && self.control.is_empty()
    }
}

impl Shared {
    /// From now on the member waits for `what`; one wait that goes on keeps its beginning.
    pub fn wait_for(&self, what: String) {
        let mut waits = lock(&self.waits);
        let since = waits.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        *waits = Some((what, since));
    }

    pub fn wait_no_more(&self) {
        *lock(&self.waits) = None;
        self.astray.store(false, Ordering::SeqCst);
    }

    /// How long the member has been waiting.
    pub fn waited(&self) -> Option<Duration> {
        lock(&self.waits).as_ref().map(|(_, since)| since.elapsed())
    }

    /// Queues a rebalance for the driver; its ticket.
    pub fn tell(&self, event: MemberEvent) -> u64 {
        let mut inbox = lock(&self.inbox);
        inbox.issued += 1;
        inbox.all_at_end = false;
        let ticket = inbox.issued;
        inbox.control.push_back((ticket, event));
        drop(inbox);
        self.arrived.notify_one();
        ticket
    }

    /// Queues a loss. A revocation of the same partitions that was not handed out yet is overtaken by it.
    pub fn tell_lost(&self, partitions: Vec<TopicPartition>) {
        let overtaken = MemberEvent::Revoked(partitions.clone());
        lock(&self.inbox).control.retain(|(_, event)| *event != overtaken);
        self.tell(MemberEvent::Lost(partitions));
    }
}

impl KafkaMember {
    /// Blocks until transactions are possible; partitions arrive as events.
    pub fn join(inner: Arc<Inner>, group: &str, topics: &[Topic], part: Part) -> Result<Self, LogError> {
        let doing = || format!("joining group {group}");
        let session = inner.settings.session_timeout_ms;
        let stranded_after = inner.settings.session_timeout() * 2 + STRANDED;
        let mut config = inner.settings.consumer_config(group);
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.to_string())
            // A third of the session is the usual share; more often only finds rebalances sooner.
            .set("heartbeat.interval.ms", (session / 3).min(1_000).to_string());
        let mut client: Client = config
            .create_with_context(MemberContext::default())
            .map_err(|error| log_error(doing(), &error))?;
        let waker = Arc::new(Waker::default());
        client.set_nonempty_callback({
            let waker = waker.clone();
            move || waker.wake()
        });
        let client = Arc::new(client);
        let ownership = Arc::new(Ownership::new(client.clone()));
        let commits = match part {
            Part::Follower => None,
            Part::Committer => {
                // Each member has an id of its own: what fences a zombie is the group's generation, not this id.
                let id = format!("{group}-{}", Uuid::new_v4());
                Some(transaction::start(inner.clone(), group, &id, ownership.clone())?)
            }
        };
        let (inbox, arrived, left) = (Mutex::default(), Notify::new(), Notify::new());
        let shared = Arc::new(Shared {
            inbox,
            arrived,
            waker,
            ownership,
            left,
            waits: Mutex::default(),
            astray: AtomicBool::default(),
        });
        let worker = Worker::new(inner, client, shared.clone(), group, part);
        worker.subscribe(topics).map_err(|error| log_error(doing(), &error))?;
        let spawned = std::thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(move || worker.run());
        spawned.map_err(|error| LogError::Unavailable {
            doing: doing(),
            cause: error.to_string(),
        })?;
        Ok(KafkaMember {
            group: group.to_owned(),
            shared,
            commits,
            left: false,
            stranded_after,
            told_drained: false,
        })
    }

    fn start_leaving(&mut self) {
        self.commits = None;
        self.left = true;
        lock(&self.shared.inbox).leaving = true;
        self.shared.ownership.close();
        self.shared.waker.wake();
    }

    fn has_left(&self) -> LogError {
        let doing = format!("reading as a member of group {}", self.group);
        LogError::Fatal {
            doing,
            cause: "the member has left".to_owned(),
        }
    }

    /// What can be handed out now.
    fn take(&mut self) -> Result<Option<MemberEvent>, LogError> {
        let mut inbox = lock(&self.shared.inbox);
        if let Some((ticket, event)) = inbox.control.pop_front() {
            inbox.handed = ticket;
            self.told_drained = false;
            drop(inbox);
            if matches!(event, MemberEvent::Lost(_)) {
                self.shared.ownership.told();
            }
            return Ok(Some(event));
        }
        if let Some(error) = inbox.error.take() {
            return Err(error);
        }
        if let Some((partition, records, bytes)) = inbox.fetched.pop_front() {
            inbox.bytes = inbox.bytes.saturating_sub(bytes);
            self.told_drained = false;
            drop(inbox);
            self.shared.waker.wake();
            return Ok(Some(MemberEvent::Fetched { partition, records }));
        }
        if inbox.drained() && !self.told_drained {
            self.told_drained = true;
            return Ok(Some(MemberEvent::Drained));
        }
        Ok(None)
    }
}

#[async_trait]
impl Member for KafkaMember {
    async fn next(&mut self, max_wait: Duration) -> Result<Option<MemberEvent>, LogError> {
        if self.left {
            return Err(self.has_left());
        }
        let deadline = Instant::now() + max_wait;
        {
            let mut inbox = lock(&self.shared.inbox);
            if inbox.answered != inbox.handed {
                inbox.answered = inbox.handed;
                self.shared.waker.wake();
            }
        }
        let shared = self.shared.clone();
        loop {
            if let Some(event) = self.take()? {
                return Ok(Some(event));
            }
            if timeout_at(deadline, shared.arrived.notified()).await.is_err() {
                // Nothing came; the end may be reported again.
                self.told_drained = false;
                return self.take();
            }
        }
    }

    async fn seek(&mut self, partition: &TopicPartition, to: Offset) -> Result<(), LogError> {
        if self.left {
            return Err(self.has_left());
        }
        let (answer, receive) = oneshot::channel();
        lock(&self.shared.inbox).seeks.push(SeekRequest {
            partition: partition.clone(),
            to,
            answer,
        });
        self.shared.waker.wake();
        self.told_drained = false;
        match timeout(SEEK, receive).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Err(LogError::Unavailable {
                doing: format!("seeking {partition} to {}", to.0),
                cause: "the reading thread did not answer".to_owned(),
            }),
        }
    }

    async fn commit(&mut self, commit: Commit) -> Result<(), CommitError> {
        let Some(commits) = &self.commits else {
            let why = if self.left {
                "has left its group"
            } else {
                "follows and commits nothing"
            };
            return Err(CommitError::Fenced(format!("the member {why}")));
        };
        let (answer, receive) = oneshot::channel();
        if commits.send(Job { commit, answer }).is_err() {
            return Err(CommitError::Aborted("the committing thread has ended".to_owned()));
        }
        let lost = |_| Err(CommitError::Unknown("the committing thread ended".to_owned()));
        receive.await.unwrap_or_else(lost)
    }

    async fn tell(&mut self, positions: Vec<(TopicPartition, Offset)>) {
        self.shared.ownership.tell(&positions);
    }

    fn at_end(&self, partition: &TopicPartition) -> bool {
        let inbox = lock(&self.shared.inbox);
        inbox.at_end.contains(partition) && !inbox.fetched.iter().any(|(fetched, _, _)| fetched == partition)
    }

    /// Its client has forgotten all brokers ([`super::line`]), or may have: a healthy group gives partitions, or says that it
    /// has none, within a session.
    fn stranded(&self) -> bool {
        let waited = self.shared.waited();
        waited.is_some_and(|waited| self.shared.astray.load(Ordering::SeqCst) || waited > self.stranded_after)
    }

    fn waits(&self) -> Waits {
        let shared = self.shared.clone();
        Waits::new(move || {
            let waits = lock(&shared.waits);
            let (what, since) = waits.as_ref()?;
            Some(format!("for {} s: {what}", since.elapsed().as_secs()))
        })
    }

    async fn leave(&mut self) -> Result<(), LogError> {
        if self.left {
            return Ok(());
        }
        let stranded = self.stranded();
        self.start_leaving();
        if stranded {
            // Nobody hears of it; the group will find out by itself.
            return Ok(());
        }
        let left = timeout(LEAVE, self.shared.left.notified()).await;
        left.map_err(|_| LogError::Unavailable {
            doing: format!("leaving group {}", self.group),
            cause: "the group's coordinator did not answer".to_owned(),
        })
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        if !self.left {
            self.start_leaving();
        }
    }
}
