//! Records to and from Kafka's form.
//!
//! Kafka keeps milliseconds and takes no time before 1970, and a client sends "now" for zero. An instant that does
//! not survive this travels in the header [`EXACT_TIME`] beside its nearest millisecond, and the header is taken
//! off again on reading.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
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

/// Room of a page. More: a record that is kept for long keeps more with it; less: more allocations.
const PAGE: usize = 64 << 10;

/// Copies fetched bytes, many of them into one allocation. Each keeps its whole page alive.
#[derive(Debug, Default)]
pub(super) struct Page(BytesMut);

impl Page {
    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > PAGE / 8 {
            return Bytes::copy_from_slice(bytes);
        }
        if self.0.capacity() < bytes.len() {
            self.0 = BytesMut::with_capacity(PAGE);
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }
}

/// A fetched message as a record. A record without a value (Kafka's tombstone) gets an empty one.
pub(super) fn from_kafka(message: &BorrowedMessage<'_>, page: &mut Page) -> Record {
    let (headers, exact) = read_headers(message, page);
    let rough = || Instant::from_millis(message.timestamp().to_millis().unwrap_or(0));
    Record {
        offset: offset(message.offset()).unwrap_or_default(),
        key: message.key().map(|key| page.copy(key)),
        value: message.payload().map(|value| page.copy(value)).unwrap_or_default(),
        headers,
        timestamp: exact.unwrap_or_else(rough),
    }
}

/// Headers in order, without the exact time, which comes apart. One without a value gets an empty one. The client panics over a
/// name that is not UTF-8, which any producer can send: such a header is read as named U+FFFD without its value.
fn read_headers(message: &BorrowedMessage<'_>, page: &mut Page) -> (Vec<(String, Bytes)>, Option<Instant>) {
    let Some(found) = message.headers() else {
        return (Vec::new(), None);
    };
    let (mut headers, mut exact) = (Vec::new(), None);
    for index in 0..found.count() {
        let Ok(header) = catch_unwind(AssertUnwindSafe(|| found.get(index))) else {
            headers.push(("\u{FFFD}".to_owned(), Bytes::new()));
            continue;
        };
        let value = header.value.unwrap_or_default();
        match <[u8; 8]>::try_from(value) {
            Ok(micros) if header.key == EXACT_TIME => exact = Some(Instant(i64::from_be_bytes(micros))),
            _ => headers.push((header.key.to_owned(), page.copy(value))),
        }
    }
    (headers, exact)
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

    #[test]
    fn a_page_is_shared_and_a_large_value_has_its_own() {
        let mut page = Page::default();
        let (first, second) = (page.copy(b"abc"), page.copy(b"defg"));
        assert_eq!((&first[..], &second[..]), (&b"abc"[..], &b"defg"[..]));
        assert_eq!(first.as_ptr().wrapping_add(3), second.as_ptr());
        let large = vec![b'x'; PAGE];
        assert_eq!(page.copy(&large), large);
        let many: Vec<Bytes> = (0..1_000).map(|nth| page.copy(&vec![nth as u8; 500])).collect();
        assert!(
            many.iter()
                .enumerate()
                .all(|(nth, bytes)| *bytes == vec![nth as u8; 500])
        );
        assert!(page.copy(b"").is_empty());
    }
}
