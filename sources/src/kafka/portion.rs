//! How much the client is given at once.
//!
//! librdkafka (2.12.1) has one request of an idempotent producer under way per partition. While more waits behind it, the
//! thread of its broker turns without a pause until the answer comes (`rd_kafka_toppar_producer_serve` finds the time to wake up
//! long past), and takes a core from the broker and the stages that it waits for. So nothing waits there: a partition gets as
//! much as goes into one request, and the next portion when that is acknowledged.

use stream::log::NewRecord;

/// The client's wait for the rest of a portion, in milliseconds: it is handed over record by record, which takes about as long.
pub(super) const LINGER_MS: &str = "2";

/// Below the client's `batch.size` of 1,000,000, with room for what Kafka adds to a record.
const BYTES: usize = 800_000;
/// Below the client's `batch.num.messages` of 10,000.
const RECORDS: usize = 2_048;
/// What a record costs beside its own bytes, at most.
const FRAMING: usize = 32;

/// The room that is left in a portion.
#[derive(Debug)]
pub(super) struct Room {
    bytes: usize,
    records: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room {
            bytes: BYTES,
            records: RECORDS,
        }
    }
}

impl Room {
    /// How many of `records` go in, from the first on. An empty portion takes at least one, however large.
    pub fn take(&mut self, records: &[NewRecord]) -> usize {
        let mut taken = 0;
        for record in records {
            let bytes = record.size() + FRAMING;
            if self.records == 0 || (bytes > self.bytes && self.records < RECORDS) {
                break;
            }
            self.bytes = self.bytes.saturating_sub(bytes);
            self.records -= 1;
            taken += 1;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: usize, bytes: usize) -> Vec<NewRecord> {
        let record = NewRecord {
            value: vec![b'x'; bytes].into(),
            ..NewRecord::default()
        };
        vec![record; count]
    }

    #[test]
    fn a_portion_ends_before_it_is_too_many_or_too_much() {
        assert_eq!(Room::default().take(&records(20_000, 1)), RECORDS);
        let taken = Room::default().take(&records(100, 100_000));
        assert_eq!(taken, BYTES / (100_000 + FRAMING));
        assert_eq!(Room::default().take(&[]), 0);
    }

    #[test]
    fn a_record_that_is_larger_than_a_portion_is_one_by_itself() {
        let mut room = Room::default();
        assert_eq!(room.take(&records(2, 2 * BYTES)), 1);
        assert_eq!(room.take(&records(1, 1)), 0);
        let mut room = Room::default();
        assert_eq!(room.take(&records(1, 1)), 1);
        assert_eq!(room.take(&records(1, 2 * BYTES)), 0);
    }

    #[test]
    fn several_lists_share_one_portion() {
        let mut room = Room::default();
        assert_eq!(room.take(&records(RECORDS - 192, 1)), RECORDS - 192);
        assert_eq!(room.take(&records(1_000, 1)), 192);
    }
}
