//! Progress: event time across stages.
//!
//! Only the ingress stage meets the wall clock. It keeps one highest event time per sender and appends [`Progress`]
//! records to every partition of its output; each later stage keeps the newest Progress per upstream partition and takes
//! the minimum. An upstream partition never heard from holds the watermark.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::log::{NewRecord, Record};
use crate::state::{StateCell, StateError};
use crate::time::Instant;

/// Header that marks a record of the kernel's own among data records.
pub const KIND_HEADER: &str = "aegis-kind";
/// Its value for a Progress record.
pub const PROGRESS: &str = "progress";
/// Its value for a record sent once more to the one reader that had refused it, named by [`FOR_HEADER`].
pub const REDRIVE: &str = "redrive";
/// Header that names the reader of a [`REDRIVE`].
pub const FOR_HEADER: &str = "aegis-for";

/// What a stage says to the next about one of its input partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub stage: String,
    /// Input partition of the stage that speaks.
    pub partition: u32,
    /// No row before this time will follow from that partition (rows that do are late).
    pub watermark: Instant,
    /// Nothing ever came from there and nothing will: do not wait for it. Only the ingress stage says so, and only at the
    /// end of a replay (ADR 11).
    pub idle: bool,
    /// The ingress tick that this derives from.
    pub tick_at: Option<Instant>,
}

impl Progress {
    /// Says no more than that the partition is there, and that it must be waited for.
    pub fn announcement(stage: &str, partition: u32) -> Self {
        Progress {
            stage: stage.to_owned(),
            partition,
            watermark: Instant::MIN,
            idle: false,
            tick_at: None,
        }
    }

    fn announces(&self) -> bool {
        self.watermark == Instant::MIN && !self.idle
    }

    pub fn to_record(&self) -> NewRecord {
        NewRecord {
            key: None,
            value: serde_json::to_vec(self).map(Bytes::from).unwrap_or_default(),
            headers: vec![(KIND_HEADER.to_owned(), Bytes::from_static(PROGRESS.as_bytes()))],
            timestamp: self.tick_at.unwrap_or_default(),
        }
    }
}

/// Records of the kernel's own are not data: they carry the header [`KIND_HEADER`].
pub fn is_data(record: &Record) -> bool {
    record.header(KIND_HEADER).is_none()
}

/// Whether `record` is data for `reader`, a stage or a sink (`sink.NAME`). Beside what is data for everybody that is a
/// record sent once more after `reader` alone had refused it: the others of the topic have taken it already.
pub fn is_data_for(record: &Record, reader: &str) -> bool {
    match record.header(KIND_HEADER) {
        None => true,
        Some(kind) => {
            kind.as_ref() == REDRIVE.as_bytes()
                && record
                    .header(FOR_HEADER)
                    .is_some_and(|name| name.as_ref() == reader.as_bytes())
        }
    }
}

/// Reads a Progress record; `None` for anything else.
pub fn progress_of(record: &Record) -> Option<Progress> {
    if record.header(KIND_HEADER)?.as_ref() != PROGRESS.as_bytes() {
        return None;
    }
    serde_json::from_slice(&record.value).ok()
}

/// The newest word of every upstream partition of a stage.
///
/// The list begins with the partitions of the topology. Only the ingress topic may get more of them while everything runs: a
/// word from a partition behind the end of the list makes the list longer, where it stands in the input, so a replay finds
/// the same. What the new partition has not said yet then holds the watermark (ADR 19).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Upstreams {
    /// Index = upstream partition, of the only stage that writes to the input, or of the first.
    heard: Vec<Option<(Instant, bool)>>,
    watermark: Option<Instant>,
    /// Of each further stage.
    others: Vec<Vec<Option<(Instant, bool)>>>,
    /// The stages that write to the input, where there are several. Not saved: the topology says so.
    #[serde(skip)]
    stages: Option<[&'static str; 2]>,
}

/// How it was saved when one stage alone could write to the input.
#[derive(Deserialize)]
struct OfOneStage {
    heard: Vec<Option<(Instant, bool)>>,
    watermark: Option<Instant>,
}

/// Upstream partitions that a list may grow to. A word from beyond is no partition of any broker; taking it in would cost
/// memory for each number below it.
const MAX_UPSTREAMS: u32 = 100_000;

impl Upstreams {
    /// One stage writes to the input.
    pub fn new(partitions: u32) -> Self {
        Upstreams {
            heard: vec![None; partitions as usize],
            ..Upstreams::default()
        }
    }

    /// Two stages write to the input, with as many tasks each as `partitions` says. A stage that is neither is not listened to.
    pub fn of_two(stages: [&'static str; 2], partitions: [u32; 2]) -> Self {
        Upstreams {
            others: vec![vec![None; partitions[1] as usize]],
            stages: Some(stages),
            ..Upstreams::new(partitions[0])
        }
    }

    /// The same list for a stage whose event time stands at `watermark` already.
    pub fn carried(self, watermark: Instant) -> Self {
        if watermark == Instant::MIN {
            return self;
        }
        let stood = |list: Vec<_>| vec![Some((watermark, false)); list.len()];
        Upstreams {
            heard: stood(self.heard),
            others: self.others.into_iter().map(stood).collect(),
            watermark: Some(watermark),
            stages: self.stages,
        }
    }

    /// The list of the stage that says `progress`, made longer where it may be.
    fn list(&mut self, progress: &Progress) -> Option<&mut Vec<Option<(Instant, bool)>>> {
        let stage = match self.stages {
            None => 0,
            Some(stages) => stages.iter().position(|name| *name == progress.stage)?,
        };
        if stage > 0 {
            return self.others.get_mut(stage - 1);
        }
        let index = progress.partition as usize;
        if progress.partition < MAX_UPSTREAMS && index >= self.heard.len() {
            // Partitions are numbered without holes: those below it are there as well, and are waited for.
            self.heard.resize(index + 1, None);
        }
        Some(&mut self.heard)
    }

    /// Takes one record in; returns the new watermark if it rose. Watermarks never fall.
    pub fn hear(&mut self, progress: &Progress) -> Option<Instant> {
        let slot = self.list(progress)?.get_mut(progress.partition as usize)?;
        if progress.announces() {
            return None;
        }
        let before = slot.map_or(Instant::MIN, |(at, _)| at);
        *slot = Some((before.max(progress.watermark), progress.idle));
        let all = || self.heard.iter().chain(self.others.iter().flatten());
        if all().any(Option::is_none) {
            return None;
        }
        let busy = all().flatten().filter(|(_, idle)| !idle).map(|(at, _)| *at).min();
        let all_idle = all().flatten().map(|(at, _)| *at).max();
        let next = busy.or(all_idle)?;
        if self.watermark.is_none_or(|at| next > at) {
            self.watermark = Some(next);
            return Some(next);
        }
        None
    }

    /// Reads what [`StateCell::save`] wrote; returns what stands behind it. What was saved when one stage alone wrote to the input ends
    /// with that one; the other then holds the watermark until it is heard.
    pub fn take_from<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], postcard::Error> {
        let (OfOneStage { heard, watermark }, mut rest) = postcard::take_from_bytes(bytes)?;
        let mut others: Vec<Vec<Option<(Instant, bool)>>> = Vec::new();
        if !rest.is_empty() {
            (others, rest) = postcard::take_from_bytes(rest)?;
        }
        (self.heard, self.watermark) = (heard, watermark);
        for (list, saved) in self.others.iter_mut().zip(others) {
            *list = saved;
        }
        Ok(rest)
    }

    /// Event time so far; [`Instant::MIN`] before every upstream partition was heard.
    pub fn watermark(&self) -> Instant {
        self.watermark.unwrap_or(Instant::MIN)
    }
}

impl StateCell for Upstreams {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_stdvec(self)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.take_from(bytes)?;
        Ok(())
    }

    fn entries(&self) -> usize {
        self.heard.len() + self.others.iter().map(Vec::len).sum::<usize>()
    }
}

/// The ingress stage's view of its senders.
///
/// ```text
///   a sender's newest event        counts as                        which keeps
///   ─────────────────────────────────────────────────────────────────────────────────────────────
///   later than what is read        what is read                     2100 from closing every window
///   on time                        itself
///   max_hold behind what is read   max_hold behind what is read     one who lags, or is silent, from stalling the rest
///   nothing for idle_after         nothing (once input is drained)  the same, for those that are gone
/// ```
///
/// What a lagging sender says later than `lateness` behind the others is late: an amendment, or a row for the topic
/// `late`, but not lost.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Senders {
    /// Highest event time, and when (wall clock) the sender was last heard.
    seen: BTreeMap<String, (Instant, Instant)>,
    watermark: Option<Instant>,
    /// Newest receive time among the records read: the wall clock as far as the input has been read. Behind an outage it
    /// lags as the input does. Not saved: what is read next sets it, and until then no sender counts.
    #[serde(skip)]
    arrived_at: Option<Instant>,
    /// Who is out of the ordinary now, so that each is counted when it becomes so. Not saved: a restart counts again.
    #[serde(skip)]
    trouble: BTreeMap<String, SenderTrouble>,
    #[serde(skip)]
    unheard: bool,
}

/// What is out of the ordinary about a sender's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SenderTrouble {
    /// Its newest event is more than [`IngressPolicy::lateness`] behind what is received now: it is late.
    Lagging,
    /// Nothing for [`IngressPolicy::idle_after`].
    Silent,
    /// Its newest event lies in the future.
    Ahead,
    /// Nobody has ever written to this input partition.
    Unheard,
}

impl SenderTrouble {
    /// Label of the counter.
    pub fn cause(self) -> &'static str {
        match self {
            SenderTrouble::Lagging => "lagging",
            SenderTrouble::Silent => "silent",
            SenderTrouble::Ahead => "ahead",
            SenderTrouble::Unheard => "unheard",
        }
    }
}

/// How the ingress stage turns senders into a watermark.
#[derive(Clone, Copy, Debug)]
pub struct IngressPolicy {
    /// How far behind its sender's newest event a row may be and still be on time.
    pub lateness: Duration,
    /// A sender silent for this long does not hold the watermark.
    pub idle_after: Duration,
    /// How far a sender may hold the watermark behind the one whose events are furthest, and behind the receive time up to
    /// which the input has been read. Longer, and one that lags stalls
    /// everybody's timers by as much; shorter, and two senders with ordinary clocks push each other.
    pub max_hold: Duration,
    /// Senders kept; beyond it the longest silent one is forgotten.
    pub max_senders: usize,
    /// Partitions that the input had when the topology was made: later stages wait for these from the start. One that was
    /// added since announces itself before its first row.
    pub founding_partitions: u32,
}

impl Default for IngressPolicy {
    fn default() -> Self {
        IngressPolicy {
            lateness: Duration::from_secs(300),
            idle_after: Duration::from_secs(30),
            max_hold: Duration::from_millis(500),
            max_senders: 10_000,
            founding_partitions: u32::MAX,
        }
    }
}

impl Senders {
    /// A record of the input was received then. To be called before [`Senders::observe`] for what stands in it.
    pub fn arrived(&mut self, at: Instant) {
        self.arrived_at = self.arrived_at.max(Some(at));
    }

    pub fn observe(&mut self, sender: &str, at: Instant, now: Instant, policy: &IngressPolicy) {
        match self.seen.get_mut(sender) {
            Some(state) => *state = (state.0.max(at), now),
            None => {
                if self.seen.len() >= policy.max_senders {
                    let oldest = self
                        .seen
                        .iter()
                        .min_by_key(|(_, (_, last))| *last)
                        .map(|(name, _)| name.clone());
                    oldest.map(|name| self.seen.remove(&name));
                }
                self.seen.insert(sender.to_owned(), (at, now));
            }
        }
    }

    /// The watermark at wall-clock time `now`, and whether every sender is idle. Never falls. A sender can be idle only
    /// when the input is `drained`: what still waits in the log may be its.
    ///
    /// A sender holds it at most [`IngressPolicy::max_hold`] behind the furthest one, and behind the time up to which the input
    /// has been read: what has not come by then is, if it comes, as late as its time says.
    ///
    /// Idleness is for people. A partition on which nothing happens goes on telling a watermark, so that the next stage
    /// waits for one whose task is not there to read what may have come.
    pub fn tick(&mut self, now: Instant, drained: bool, policy: &IngressPolicy) -> (Instant, bool) {
        let busy: Vec<Instant> = self
            .seen
            .values()
            .filter(|(_, last)| !drained || now.since(*last) < policy.idle_after)
            .map(|(at, _)| self.counted(*at, now))
            .collect();
        let read_to = match drained {
            true => now,
            false => self.counted(Instant::MAX, now),
        };
        let least = busy
            .iter()
            .copied()
            .fold(read_to, Instant::max)
            .saturating_sub(policy.max_hold);
        let held = busy.iter().copied().min().map_or(least, |last| last.max(least));
        if busy.is_empty() && !drained {
            return (self.watermark.unwrap_or(Instant::MIN), false);
        }
        (self.raise(held.saturating_sub(policy.lateness)), busy.is_empty())
    }

    /// A sender's time as it counts for the watermark: no later than the input has been read. In a backlog that is not the
    /// clock: one whose time runs minutes ahead would count for what it says there, and make late what the others said at
    /// the same time. After a restart nobody knows how far the input was read before the first record of it.
    fn counted(&self, at: Instant, now: Instant) -> Instant {
        at.min(now).min(self.arrived_at.unwrap_or(Instant::MIN))
    }

    /// Whether anything was read since this task came to be.
    pub fn read_anything(&self) -> bool {
        self.arrived_at.is_some()
    }

    /// Who has become out of the ordinary since the last call, and why. Walks all senders.
    pub fn new_trouble(&mut self, now: Instant, drained: bool, policy: &IngressPolicy) -> Vec<(String, SenderTrouble)> {
        let received = self.arrived_at.map_or(Instant::MIN, |arrived| arrived.min(now));
        let on_time = received.saturating_sub(policy.lateness);
        let mut fresh = Vec::new();
        for (sender, (at, last)) in &self.seen {
            let silent = now.since(*last) >= policy.idle_after;
            let trouble = if drained && silent {
                SenderTrouble::Silent
            } else if *at > now.saturating_add(policy.max_hold) {
                SenderTrouble::Ahead
            } else if *at < on_time && !silent {
                SenderTrouble::Lagging
            } else {
                self.trouble.remove(sender);
                continue;
            };
            if self.trouble.get(sender) != Some(&trouble) {
                self.trouble.insert(sender.clone(), trouble);
                fresh.push((sender.clone(), trouble));
            }
        }
        if self.trouble.len() > self.seen.len() {
            self.trouble.retain(|sender, _| self.seen.contains_key(sender));
        }
        let unheard = drained && self.seen.is_empty();
        if unheard && !self.unheard {
            fresh.push((String::new(), SenderTrouble::Unheard));
        }
        self.unheard |= unheard;
        fresh
    }

    /// The watermark when the input has ended (replay clock): as far as the senders got, less the lateness they may still
    /// use; with `past`, this far past their newest event instead, so that windows of that width close.
    pub fn end(&mut self, past: Option<Duration>, policy: &IngressPolicy) -> Option<Instant> {
        let highest = self.seen.values().map(|(at, _)| *at).max()?;
        let next = match past {
            Some(past) => highest.saturating_add(past),
            None => highest.saturating_sub(policy.lateness),
        };
        Some(self.raise(next))
    }

    fn raise(&mut self, next: Instant) -> Instant {
        let raised = self.watermark.map_or(next, |at| at.max(next));
        self.watermark = Some(raised);
        raised
    }
}

impl StateCell for Senders {
    fn save(&self) -> Result<Vec<u8>, StateError> {
        Ok(postcard::to_stdvec(self)?)
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        *self = postcard::from_bytes(bytes)?;
        Ok(())
    }

    fn entries(&self) -> usize {
        self.seen.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(partition: u32, watermark: i64, idle: bool) -> Progress {
        Progress {
            stage: "s".into(),
            partition,
            watermark: Instant(watermark),
            idle,
            tick_at: None,
        }
    }

    #[test]
    fn a_partition_never_heard_from_holds_the_watermark() {
        let mut up = Upstreams::new(2);
        assert_eq!(up.hear(&progress(0, 10, false)), None);
        assert_eq!(up.hear(&progress(1, 4, false)), Some(Instant(4)));
        assert_eq!(up.hear(&progress(1, 2, false)), None, "it never falls");
        assert_eq!(
            up.hear(&progress(1, 4, true)),
            Some(Instant(10)),
            "one whose replay has ended does not hold it"
        );
    }

    #[test]
    fn a_partition_that_is_added_holds_the_watermark_from_where_it_is_announced() {
        let mut up = Upstreams::new(1);
        assert_eq!(up.hear(&progress(0, 10, false)), Some(Instant(10)));
        assert_eq!(up.hear(&Progress::announcement("s", 2)), None);
        assert_eq!(up.hear(&progress(0, 20, false)), None, "1 and 2 have not spoken");
        assert_eq!(up.hear(&progress(2, 15, false)), None, "1 must be there as well");
        assert_eq!(up.watermark(), Instant(10), "it never falls");
        assert_eq!(up.hear(&progress(1, 18, false)), Some(Instant(15)));
        let mut again = Upstreams::new(1);
        again.load(&up.save().unwrap()).unwrap();
        assert_eq!(
            again.hear(&progress(2, 30, false)),
            Some(Instant(18)),
            "it is part of the state"
        );
        assert_eq!(again.hear(&progress(u32::MAX, 30, false)), None);
        assert_eq!(again.entries(), 3, "no broker has that many");
    }

    #[test]
    fn what_is_carried_over_stands_where_it_stood_until_all_have_spoken() {
        let mut up = Upstreams::new(2).carried(Instant(10));
        assert_eq!(up.watermark(), Instant(10));
        assert_eq!(up.hear(&progress(0, 20, false)), None);
        assert_eq!(up.hear(&progress(1, 15, false)), Some(Instant(15)));
        assert_eq!(Upstreams::new(2).carried(Instant::MIN).watermark(), Instant::MIN);
    }

    const POLICY: IngressPolicy = IngressPolicy {
        lateness: Duration::from_micros(50),
        idle_after: Duration::from_micros(1_000),
        max_hold: Duration::from_micros(2),
        max_senders: 10,
        founding_partitions: u32::MAX,
    };

    #[test]
    fn a_lagging_sender_holds_the_others_by_max_hold_at_most_and_is_told_once() {
        let mut senders = Senders::default();
        senders.arrived(Instant(400));
        senders.observe("lagging", Instant(400), Instant(1_000), &POLICY);
        assert_eq!(
            senders.tick(Instant(1_000), false, &POLICY).0,
            Instant(350),
            "alone, it is the clock"
        );
        senders.arrived(Instant(1_000));
        senders.observe("quick", Instant(1_000), Instant(1_000), &POLICY);
        assert_eq!(senders.tick(Instant(1_000), false, &POLICY).0, Instant(948));
        let cause = |senders: &mut Senders| senders.new_trouble(Instant(1_000), true, &POLICY);
        assert_eq!(cause(&mut senders), [("lagging".to_owned(), SenderTrouble::Lagging)]);
        assert_eq!(cause(&mut senders), [], "counted once");
    }

    #[test]
    fn a_sender_in_the_future_moves_time_no_further_than_the_input_is_read() {
        let mut senders = Senders::default();
        senders.arrived(Instant(900));
        senders.observe("future", Instant(1_000_000), Instant(5_000), &POLICY);
        senders.observe("minutes ahead", Instant(1_200), Instant(5_000), &POLICY);
        senders.observe("backlog", Instant(899), Instant(5_000), &POLICY);
        assert_eq!(
            senders.tick(Instant(5_000), false, &POLICY).0,
            Instant(849),
            "the rest of the backlog is on time"
        );
        assert_eq!(
            senders.new_trouble(Instant(5_000), false, &POLICY),
            [("future".to_owned(), SenderTrouble::Ahead)]
        );
    }

    #[test]
    fn senders_ahead_do_not_make_late_what_came_in_during_a_restart() {
        let mut senders = Senders::default();
        senders.arrived(Instant(900));
        senders.observe("future", Instant(1_000_000), Instant(900), &POLICY);
        senders.observe("minutes ahead", Instant(1_200), Instant(900), &POLICY);
        assert_eq!(senders.tick(Instant(900), false, &POLICY).0, Instant(850));
        let mut restored = Senders::default();
        restored.load(&senders.save().unwrap()).unwrap();
        assert_eq!(
            restored.tick(Instant(5_000), false, &POLICY).0,
            Instant(850),
            "nothing has been read yet"
        );
        restored.arrived(Instant(1_000));
        restored.observe("backlog", Instant(990), Instant(5_000), &POLICY);
        assert_eq!(restored.tick(Instant(5_000), false, &POLICY).0, Instant(948));
    }

    #[test]
    fn an_unheard_partition_is_told_once_and_holds_nobody() {
        let mut senders = Senders::default();
        assert_eq!(senders.tick(Instant(5_000), true, &POLICY), (Instant(4_948), true));
        let cause = |senders: &mut Senders| senders.new_trouble(Instant(5_000), true, &POLICY);
        assert_eq!(cause(&mut senders), [(String::new(), SenderTrouble::Unheard)]);
        assert_eq!(cause(&mut senders), []);
    }

    #[test]
    fn one_silent_sender_stalls_nobody() {
        let policy = IngressPolicy {
            lateness: Duration::from_micros(5),
            idle_after: Duration::from_micros(10),
            max_hold: Duration::from_micros(1_000),
            ..IngressPolicy::default()
        };
        let mut senders = Senders::default();
        senders.arrived(Instant(100));
        senders.observe("slow", Instant(20), Instant(100), &policy);
        senders.observe("quick", Instant(100), Instant(100), &policy);
        assert_eq!(senders.tick(Instant(100), true, &policy), (Instant(15), false));
        senders.arrived(Instant(112));
        senders.observe("quick", Instant(112), Instant(112), &policy);
        assert_eq!(
            senders.tick(Instant(112), false, &policy),
            (Instant(15), false),
            "not while input waits"
        );
        assert_eq!(senders.tick(Instant(112), true, &policy), (Instant(107), false));
        assert_eq!(senders.tick(Instant(2_000), true, &policy), (Instant(995), true));
    }
    #[test]
    fn a_redrive_is_data_for_the_one_it_names() {
        let record = |headers: &[(&str, &str)]| Record {
            offset: crate::log::Offset(0),
            key: None,
            value: Bytes::new(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
                .collect(),
            timestamp: Instant(0),
        };
        let check = |headers: &[(&str, &str)], reader, expected| {
            assert_eq!(is_data_for(&record(headers), reader), expected, "{headers:?} {reader}");
        };
        check(&[], "dedupe", true);
        check(&[(KIND_HEADER, PROGRESS)], "dedupe", false);
        check(&[(KIND_HEADER, REDRIVE)], "dedupe", false);
        check(&[(KIND_HEADER, REDRIVE), (FOR_HEADER, "dedupe")], "dedupe", true);
        check(&[(KIND_HEADER, REDRIVE), (FOR_HEADER, "dedupe")], "sink.sql", false);
        assert!(!is_data(&record(&[(KIND_HEADER, REDRIVE), (FOR_HEADER, "dedupe")])));
    }
}
