//! Records to and from Kafka's form.
//!
//! Kafka keeps milliseconds and takes no time before 1970, and a client sends "now" for zero. An instant that does
//! not survive this travels in the header [`EXACT_TIME`] beside its nearest millisecond, and the header is taken
//! off again on reading.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;
use stream::log::{LogError, NewRecord, Offset, Record, TopicPartition};
use stream::time::Instant;

/// Microseconds since 1970, eight bytes, big endian.
pub(super) const EXACT_TIME: &str = "aegis.exact-time";

/// Header of a record that only ends what a broker left open ([`super::seal`]): readers and members never hand it out.
pub(super) const SEAL: &str = "aegis.seal";

/// Kafka's number of a partition.
pub(super) fn partition_number(partition: &TopicPartition) -> Result<i32, LogError> {
    i32::try_from(partition.partition).map_err(|_| LogError::UnknownPartition(partition.clone()))
}

/// Kafka's number of an offset. Offsets come from Kafka, so the clamp is never met.
pub(super) fn raw_offset(offset: Offset) -> i64 {
    i64::try_from(offset.0).unwrap_or(i64::MAX)
}

/// An offset as Kafka gives it; its negative values mean "none".
pub(super) fn offset(raw: i64) -> Option<Offset> {
    u64::try_from(raw).ok().map(Offset)
}

/// Header names are C strings to the client; a zero byte would cut one short.
pub(super) fn has_unsendable_header(record: &NewRecord) -> bool {
    record
        .headers
        .iter()
        .any(|(name, _)| name.contains('\0') || name == EXACT_TIME || name == SEAL)
}

/// A record that ends what a broker left open, and says nothing.
pub(super) fn seal_for<D: IntoOpaque>(topic: &str, partition: i32, opaque: D) -> BaseRecord<'_, [u8], [u8], D> {
    let header = Header {
        key: SEAL,
        value: Some(&[]),
    };
    BaseRecord::with_opaque_to(topic, opaque)
        .partition(partition)
        .payload(&[][..])
        .headers(OwnedHeaders::new_with_capacity(1).insert(header))
}

/// Whether `record` is one of [`seal_for`].
pub(super) fn seals(record: &Record) -> bool {
    record.headers.iter().any(|(name, _)| name == SEAL)
}

/// `record` for `partition` of `topic`.
pub(super) fn to_kafka<'a, D: IntoOpaque>(
    topic: &'a str,
    partition: i32,
    record: &'a NewRecord,
    opaque: D,
) -> BaseRecord<'a, [u8], [u8], D> {
    let (millis, exact) = kafka_time(record.timestamp);
    let mut out = BaseRecord::with_opaque_to(topic, opaque)
        .partition(partition)
        .payload(&record.value[..])
        .timestamp(millis);
    if let Some(key) = &record.key {
        out = out.key(&key[..]);
    }
    if !record.headers.is_empty() || exact.is_some() {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len() + 1);
        for (key, value) in &record.headers {
            headers = headers.insert(Header {
                key,
                value: Some(&value[..]),
            });
        }
        if let Some(exact) = &exact {
            headers = headers.insert(Header {
                key: EXACT_TIME,
                value: Some(&exact[..]),
            });
        }
        out = out.headers(headers);
    }
    out
}

/// Kafka's timestamp, and the exact one where Kafka's does not say all.
fn kafka_time(at: Instant) -> (i64, Option<[u8; 8]>) {
    let millis = at.as_millis().max(1);
    let exact = (Instant::from_millis(millis) != at).then(|| at.0.to_be_bytes());
    (millis, exact)
}

/// A fetched message as a record. A record without a value (Kafka's tombstone) gets an empty one.
pub(super) fn from_kafka(message: &BorrowedMessage<'_>) -> Record {
    let mut headers = read_headers(message);
    let mut timestamp = Instant::from_millis(message.timestamp().to_millis().unwrap_or(0));
    if let Some(index) = headers.iter().rposition(|(name, _)| name == EXACT_TIME)
        && let Ok(exact) = <[u8; 8]>::try_from(&headers[index].1[..])
    {
        timestamp = Instant(i64::from_be_bytes(exact));
        headers.remove(index);
    }
    Record {
        offset: offset(message.offset()).unwrap_or_default(),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
        headers,
        timestamp,
    }
}

/// Headers in order; one without a value gets an empty one. The client panics over a name that is not UTF-8, which
/// any producer can send: such a header is read as named U+FFFD without its value.
fn read_headers(message: &BorrowedMessage<'_>) -> Vec<(String, Bytes)> {
    let Some(headers) = message.headers() else {
        return Vec::new();
    };
    let read = |index| {
        catch_unwind(AssertUnwindSafe(|| {
            let header = headers.get(index);
            (
                header.key.to_owned(),
                header.value.map(Bytes::copy_from_slice).unwrap_or_default(),
            )
        }))
        .unwrap_or_else(|_| ("\u{FFFD}".to_owned(), Bytes::new()))
    };
    (0..headers.count()).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_that_kafka_cannot_hold_are_sent_apart() {
        let check = |micros: i64, millis: i64, apart: bool| {
            let (found, exact) = kafka_time(Instant(micros));
            assert_eq!((found, exact.is_some()), (millis, apart), "{micros}");
        };
        check(1_700_000_000_123_000, 1_700_000_000_123, false);
        check(1_700_000_000_123_456, 1_700_000_000_123, true);
        check(0, 1, true);
        check(-5_000_000, 1, true);
        check(i64::MIN, 1, true);
    }

    #[test]
    fn a_header_name_that_would_be_cut_or_taken_off_is_found() {
        let with = |name: &str| NewRecord {
            headers: vec![(name.to_owned(), Bytes::new())],
            ..NewRecord::default()
        };
        assert!(has_unsendable_header(&with("a\0b")));
        assert!(has_unsendable_header(&with(EXACT_TIME)));
        assert!(!has_unsendable_header(&with("content-type")));
    }
}
