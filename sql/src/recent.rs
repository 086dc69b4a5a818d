//! The newest signals, in memory: what is on the log and may be in no table yet.
//!
//! Per partition of the log it holds one stretch without holes that ends where its feeder has read to. Who queries takes a
//! signal from here if its offset lies in that stretch, and from nowhere else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;

/// Batches are merged up to this many rows, so that a thousand alerts are not a thousand batches.
const MERGED_ROWS: usize = 8_192;

/// Bounded by bytes; the oldest go first. Cheap to clone: all clones are one.
#[derive(Clone, Debug)]
pub struct Recent(Arc<Mutex<Ring>>);

#[derive(Debug)]
struct Ring {
    max_bytes: usize,
    bytes: usize,
    /// Pieces pushed so far: tells which one is the oldest.
    pushed: u64,
    partitions: BTreeMap<u32, VecDeque<Piece>>,
}

#[derive(Debug)]
struct Piece {
    /// Offsets `[from, next)` of the log.
    from: u64,
    next: u64,
    rows: Option<RecordBatch>,
    bytes: usize,
    number: u64,
}

/// What a query sees of it.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    /// Where each partition's stretch begins.
    pub starts: BTreeMap<u32, u64>,
    pub batches: Vec<RecordBatch>,
}

impl Recent {
    /// Holds `max_bytes` of Arrow buffers at most.
    pub fn new(max_bytes: usize) -> Self {
        Recent(Arc::new(Mutex::new(Ring {
            max_bytes,
            bytes: 0,
            pushed: 0,
            partitions: BTreeMap::new(),
        })))
    }

    /// Adds what the offsets `[from, next)` of `partition` hold; `rows` is `None` where that is no signal. A hole before `from`
    /// begins a new stretch.
    pub fn push(&self, partition: u32, from: u64, next: u64, rows: Option<RecordBatch>) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.push(partition, from, next, rows);
    }

    /// Forgets `partition`: its feeder lost its place.
    pub fn forget(&self, partition: u32) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = ring.partitions.remove(&partition).unwrap_or_default();
        ring.bytes -= gone.iter().map(|piece| piece.bytes).sum::<usize>();
    }

    pub(crate) fn newest(&self) -> Newest {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = Newest::default();
        for (partition, pieces) in &ring.partitions {
            let Some(first) = pieces.front() else { continue };
            newest.starts.insert(*partition, first.from);
            newest
                .batches
                .extend(pieces.iter().filter_map(|piece| piece.rows.clone()));
        }
        newest
    }
}

impl Ring {
    fn push(&mut self, partition: u32, from: u64, next: u64, rows: Option<RecordBatch>) {
        let pieces = self.partitions.entry(partition).or_default();
        if pieces.back().is_some_and(|last| last.next != from) {
            self.bytes -= pieces.drain(..).map(|piece| piece.bytes).sum::<usize>();
        }
        let rows = rows.filter(|rows| rows.num_rows() > 0);
        let bytes = rows.as_ref().map_or(0, model::held_bytes);
        pieces.push_back(Piece {
            from,
            next,
            rows,
            bytes,
            number: self.pushed,
        });
        self.pushed += 1;
        self.bytes += bytes;
        while let Some((before, after)) = merge(pieces) {
            self.bytes = self.bytes - before + after;
        }
        while self.bytes > self.max_bytes {
            let oldest = self
                .partitions
                .values_mut()
                .filter(|pieces| !pieces.is_empty())
                .min_by_key(|pieces| pieces.front().map(|piece| piece.number));
            let Some(gone) = oldest.and_then(VecDeque::pop_front) else {
                return;
            };
            self.bytes -= gone.bytes;
        }
    }
}

/// Merges the last two pieces if the last has grown as large as the one before: each row is copied a few times, not once per
/// push. Bytes before and after; `None` if they stay apart.
fn merge(pieces: &mut VecDeque<Piece>) -> Option<(usize, usize)> {
    let count = |piece: &Piece| piece.rows.as_ref().map_or(0, RecordBatch::num_rows);
    let (last, previous) = (pieces.back()?, pieces.get(pieces.len().checked_sub(2)?)?);
    let (small, large) = (count(last), count(previous));
    if small < large || small + large > MERGED_ROWS {
        return None;
    }
    let rows = match (&previous.rows, &last.rows) {
        (Some(a), Some(b)) if a.schema() == b.schema() => Some(concat_batches(a.schema_ref(), [a, b]).ok()?),
        (Some(_), Some(_)) => return None,
        (a, b) => a.clone().or_else(|| b.clone()),
    };
    let before = last.bytes + previous.bytes;
    let bytes = rows.as_ref().map_or(0, model::held_bytes);
    let merged = Piece {
        from: previous.from,
        next: last.next,
        rows,
        bytes,
        number: previous.number,
    };
    pieces.truncate(pieces.len() - 2);
    pieces.push_back(merged);
    Some((before, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};

    fn rows(values: std::ops::Range<i64>) -> Option<RecordBatch> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        Some(RecordBatch::try_from_iter([("n", column)]).unwrap())
    }

    fn total(newest: &Newest) -> usize {
        newest.batches.iter().map(RecordBatch::num_rows).sum()
    }

    #[test]
    fn single_rows_become_few_batches() {
        let recent = Recent::new(1 << 20);
        for n in 0..1_000_i64 {
            recent.push(3, n as u64, n as u64 + 1, rows(n..n + 1));
        }
        let newest = recent.newest();
        assert_eq!((newest.starts[&3], total(&newest)), (0, 1_000));
        assert!(newest.batches.len() <= 10, "{}", newest.batches.len());
    }

    #[test]
    fn records_without_rows_move_the_end() {
        let recent = Recent::new(1 << 20);
        recent.push(0, 5, 6, None);
        recent.push(0, 6, 8, rows(0..1));
        recent.push(0, 8, 9, None);
        recent.push(0, 9, 10, rows(1..2));
        assert_eq!((recent.newest().starts[&0], total(&recent.newest())), (5, 2));
    }

    #[test]
    fn a_hole_begins_anew() {
        let recent = Recent::new(1 << 20);
        recent.push(0, 0, 1, rows(0..1));
        recent.push(1, 0, 1, rows(0..1));
        recent.push(0, 2, 3, rows(1..2));
        assert_eq!(recent.newest().starts, BTreeMap::from([(0, 2), (1, 0)]));
        recent.forget(1);
        assert_eq!((recent.newest().starts.len(), total(&recent.newest())), (1, 1));
    }

    #[test]
    fn the_oldest_go_first() {
        let size = model::held_bytes(&rows(0..MERGED_ROWS as i64).unwrap());
        let recent = Recent::new(2 * size);
        for n in 0..4 {
            recent.push(
                n % 2,
                u64::from(n / 2),
                u64::from(n / 2) + 1,
                rows(0..MERGED_ROWS as i64),
            );
        }
        let newest = recent.newest();
        assert_eq!(
            (newest.starts, newest.batches.len()),
            (BTreeMap::from([(0, 1), (1, 1)]), 2)
        );
    }
}
