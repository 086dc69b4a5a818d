//! What was told last, in memory, for every client at once. Bounded by bytes; the oldest go first.
//!
//! Per partition it holds one stretch of the topic without holes, which ends where its feeder has read to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::project::Message;

/// See the module's header.
pub struct History {
    stretches: Mutex<Stretches>,
    /// Counts what was pushed.
    pushed: watch::Sender<u64>,
}

struct Stretches {
    max_bytes: usize,
    bytes: usize,
    partitions: BTreeMap<u32, Stretch>,
}

#[derive(Default)]
struct Stretch {
    /// Offsets `[start, next)`.
    start: u64,
    next: u64,
    messages: VecDeque<Arc<Message>>,
}

/// What a client finds behind its place.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// Messages, and the place behind them.
    Messages(Vec<Arc<Message>>, u64),
    /// Nothing new.
    Nothing,
    /// What it asks for is not here (any more, or yet); the stretch begins here, if there is one.
    NotHere(Option<u64>),
}

impl History {
    pub fn new(max_bytes: usize) -> Self {
        History {
            stretches: Mutex::new(Stretches {
                max_bytes,
                bytes: 0,
                partitions: BTreeMap::new(),
            }),
            pushed: watch::Sender::new(0),
        }
    }

    /// Adds what offsets `[from, next)` of `partition` hold. A hole before `from` begins a new stretch.
    pub fn push(&self, partition: u32, from: u64, next: u64, messages: Vec<Message>) {
        self.lock().push(partition, from, next, messages);
        self.pushed.send_modify(|count| *count += 1);
    }

    /// Wakes with everything that is pushed from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.pushed.subscribe()
    }

    /// At most `most` messages of `partition` from offset `from` on.
    pub fn after(&self, partition: u32, from: u64, most: usize) -> Found {
        let stretches = self.lock();
        let Some(stretch) = stretches.partitions.get(&partition) else {
            return Found::NotHere(None);
        };
        if from < stretch.start {
            return Found::NotHere(Some(stretch.start));
        }
        if from >= stretch.next {
            return Found::Nothing;
        }
        let first = stretch.messages.partition_point(|message| message.offset < from);
        let found: Vec<_> = stretch.messages.iter().skip(first).take(most).cloned().collect();
        let next = match found.last() {
            Some(last) if found.len() == most => last.offset + 1,
            _ => stretch.next,
        };
        Found::Messages(found, next)
    }

    fn lock(&self) -> MutexGuard<'_, Stretches> {
        self.stretches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stretches {
    fn push(&mut self, partition: u32, from: u64, next: u64, messages: Vec<Message>) {
        let known = self.partitions.contains_key(&partition);
        let stretch = self.partitions.entry(partition).or_default();
        if !known || stretch.next != from {
            self.bytes -= stretch.messages.drain(..).map(|gone| gone.bytes()).sum::<usize>();
            stretch.start = from;
        }
        stretch.next = next;
        self.bytes += messages.iter().map(Message::bytes).sum::<usize>();
        stretch.messages.extend(messages.into_iter().map(Arc::new));
        while self.bytes > self.max_bytes {
            let held = self.partitions.values_mut();
            // The largest gives first: a quiet partition keeps what little it has.
            let Some(largest) = held.max_by_key(|stretch| stretch.messages.len()) else {
                return;
            };
            let Some(gone) = largest.messages.pop_front() else {
                return;
            };
            largest.start = gone.offset + 1;
            self.bytes -= gone.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Namespace;

    fn message(offset: u64) -> Message {
        Message::new(
            Namespace::Incidents,
            0,
            offset,
            0,
            "opened",
            &serde_json::json!({"n": offset}),
        )
        .unwrap()
    }

    fn offsets(found: Found) -> (Vec<u64>, u64) {
        match found {
            Found::Messages(messages, next) => (messages.iter().map(|message| message.offset).collect(), next),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_stretch_with_offsets_that_say_nothing() {
        let history = History::new(1 << 20);
        assert_eq!(history.after(0, 0, 10), Found::NotHere(None));
        history.push(0, 5, 8, vec![message(5), message(7)]);
        history.push(0, 8, 12, vec![message(9)]);
        assert_eq!(history.after(0, 4, 10), Found::NotHere(Some(5)));
        assert_eq!(offsets(history.after(0, 5, 10)), (vec![5, 7, 9], 12));
        assert_eq!(offsets(history.after(0, 6, 1)), (vec![7], 8));
        assert_eq!(offsets(history.after(0, 10, 10)), (vec![], 12));
        assert_eq!(history.after(0, 12, 10), Found::Nothing);
    }

    #[test]
    fn a_hole_begins_anew() {
        let history = History::new(1 << 20);
        history.push(0, 0, 1, vec![message(0)]);
        history.push(0, 3, 4, vec![message(3)]);
        assert_eq!(history.after(0, 0, 10), Found::NotHere(Some(3)));
        assert_eq!(offsets(history.after(0, 3, 10)), (vec![3], 4));
    }

    #[test]
    fn the_oldest_go_and_bytes_are_bounded() {
        let history = History::new(3 * message(100).bytes());
        (100..110).for_each(|offset| history.push(0, offset, offset + 1, vec![message(offset)]));
        history.push(1, 0, 1, vec![]);
        assert_eq!(history.after(0, 106, 10), Found::NotHere(Some(107)));
        assert_eq!(offsets(history.after(0, 107, 10)), (vec![107, 108, 109], 110));
        assert_eq!(history.after(1, 1, 10), Found::Nothing);
    }
}
