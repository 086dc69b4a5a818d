//! One operator under test: fed row by row or batch by batch, killed and restored at will, its books checked always.

#![allow(dead_code)] // Each test file uses a part of it.

use model::{Signal, SignalBatch, SignalBatchBuilder};
use stream::log::{NewRecord, Offset, Record, Topic};
use stream::operator::Harness;
use stream::{Accounting, Instant, Operator};

pub struct Rig<O: Operator> {
    make: Box<dyn Fn() -> O>,
    pub operator: O,
    harness: Harness<O::Out>,
    /// Save the cells and load them into a new instance after every step.
    pub mortal: bool,
    /// Everything counted so far, for the balance over the whole run.
    pub items_in: u64,
    pub held: u64,
    pub released: u64,
    pub counts: Vec<Accounting>,
    pub side: Vec<(Topic, NewRecord)>,
}

impl<O: Operator> Rig<O> {
    pub fn new(make: impl Fn() -> O + 'static) -> Self {
        let operator = make();
        Rig {
            make: Box::new(make),
            operator,
            harness: Harness::new(1),
            mortal: false,
            items_in: 0,
            held: 0,
            released: 0,
            counts: Vec::new(),
            side: Vec::new(),
        }
    }

    pub fn mortal(mut self) -> Self {
        self.mortal = true;
        self
    }

    /// One record of these signals; what came out.
    pub fn feed(&mut self, signals: &[Signal]) -> Vec<NewRecord> {
        let record = record(encode(signals));
        self.harness.feed(&mut self.operator, &record);
        self.step(signals.len() as u64)
    }

    /// One record as it is; it holds one item.
    pub fn feed_record(&mut self, record: &Record) -> Vec<NewRecord> {
        self.harness.feed(&mut self.operator, record);
        self.step(1)
    }

    /// Why one record is refused.
    pub fn refused(&mut self, record: &Record) -> Vec<&'static str> {
        self.harness.feed(&mut self.operator, record);
        let rejects = self.harness.take_rejects();
        self.harness.take_accounting();
        rejects.into_iter().map(|reject| reject.reason).collect()
    }

    /// What was said on `topic` since the last look; the rest is let go of.
    pub fn said<T: serde::de::DeserializeOwned>(&mut self, topic: &str) -> Vec<T> {
        let said = self.harness.take_side().into_iter().filter(|(to, ..)| **to == *topic);
        said.map(|(_, _, record)| serde_json::from_slice(&record.value).unwrap())
            .collect()
    }

    /// Event time reaches `seconds`.
    pub fn watermark(&mut self, seconds: i64) -> Vec<NewRecord> {
        self.watermark_at(Instant(seconds * 1_000_000))
    }

    pub fn watermark_at(&mut self, at: Instant) -> Vec<NewRecord> {
        self.harness.advance(&mut self.operator, at);
        self.step(0)
    }

    /// What goes on as this stage's own watermark.
    pub fn progress(&self) -> Instant {
        let at = self.harness.watermark();
        self.operator.owes().map_or(at, |owed| owed.min(at))
    }

    fn step(&mut self, items: u64) -> Vec<NewRecord> {
        let counts = self.harness.take_accounting();
        assert!(counts.balanced(), "{counts:?}");
        assert_eq!(counts.items_in, items, "every item is accounted once: {counts:?}");
        assert_eq!(self.harness.take_rejects(), []);
        self.items_in += counts.items_in;
        self.held += counts.held;
        self.released += counts.released;
        assert!(self.released <= self.held, "released more than was held");
        self.counts.push(counts);
        self.side.extend(
            self.harness
                .take_side()
                .into_iter()
                .map(|(topic, _, record)| (topic, record)),
        );
        if self.mortal {
            self.restart();
        }
        self.harness.drain().unwrap().remove(0)
    }

    /// Kill, and restore from the saved cells.
    pub fn restart(&mut self) {
        let saved: Vec<(&str, Vec<u8>)> = self
            .operator
            .cells()
            .into_iter()
            .map(|(name, cell)| (name, cell.save().unwrap()))
            .collect();
        self.operator = (self.make)();
        for ((name, cell), (saved_name, bytes)) in self.operator.cells().into_iter().zip(saved) {
            assert_eq!(name, saved_name);
            cell.load(&bytes).unwrap();
        }
    }

    /// Entries in all cells.
    pub fn entries(&mut self) -> usize {
        self.operator.cells().into_iter().map(|(_, cell)| cell.entries()).sum()
    }

    /// A count over the whole run.
    pub fn total(&self, count: impl Fn(&Accounting) -> u64) -> u64 {
        self.counts.iter().map(count).sum()
    }
}

pub fn encode(signals: &[Signal]) -> Vec<u8> {
    let mut builder = SignalBatchBuilder::new();
    signals.iter().for_each(|signal| builder.push(&signal.row()));
    builder.finish().unwrap().encode().unwrap()
}

pub fn record(value: Vec<u8>) -> Record {
    Record {
        offset: Offset(0),
        key: None,
        value: value.into(),
        headers: Vec::new(),
        timestamp: Instant::default(),
    }
}

/// A JSON record of type `kind`.
pub fn typed(kind: &str, value: &impl serde::Serialize) -> Record {
    let headers = vec![(model::topics::header::TYPE.to_owned(), kind.to_owned().into())];
    Record {
        headers,
        ..record(serde_json::to_vec(value).unwrap())
    }
}

/// The signals in records of `signals` or `transitions`.
pub fn signals(records: &[NewRecord]) -> Vec<Signal> {
    let rows = |record: &NewRecord| -> Vec<Signal> {
        SignalBatch::decode(&record.value)
            .unwrap()
            .rows()
            .map(|row| row.to_signal())
            .collect()
    };
    records.iter().flat_map(rows).collect()
}

/// Values of JSON records.
pub fn json<T: serde::de::DeserializeOwned>(records: &[NewRecord]) -> Vec<T> {
    records
        .iter()
        .map(|record| serde_json::from_slice(&record.value).unwrap())
        .collect()
}

/// SplitMix64: a seed is printed with a failure and gives the same case again.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
