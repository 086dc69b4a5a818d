//! A record batch, self-checking: the unit that is read.
//!
//! ```text
//! version 1 | crc32 4 | base offset 8 | appended at 8 | count 4 | records
//! record: timestamp zigzag | key length + 1 (0: none), key | value length, value | headers, each name and value
//! ```
//! Fixed numbers are little endian, the others LEB128. The checksum covers everything after it.

use bytes::Bytes;
use stream::{Instant, NewRecord, Offset, Record};

const VERSION: u8 = 2;
const CRC_AT: usize = 1;
const BASE_AT: usize = 5;
const APPENDED_AT: usize = 13;
const COUNT_AT: usize = 21;
const HEADER_BYTES: usize = 25;

/// Records per batch are cut at this size: larger ones make a read of one record cost more, smaller ones more index.
const TARGET_BYTES: usize = 512 << 10;

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub base: Offset,
    pub appended_at: Instant,
    pub count: u32,
}

impl Header {
    /// The offset after the last record.
    pub fn end(&self) -> u64 {
        self.base.0 + u64::from(self.count)
    }
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("batch of {0} bytes is cut short")]
    Short(usize),
    #[error("batch format version {0} is not known to this program")]
    Version(u8),
    #[error("checksum mismatch (stored {stored:08x}, computed {computed:08x})")]
    Checksum { stored: u32, computed: u32 },
    #[error("malformed record {0}")]
    Record(u32),
}

/// Records made ready for the store by the caller; the writer completes the header.
pub struct Encoded {
    bytes: Vec<u8>,
    count: u32,
}

impl Encoded {
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn seal(mut self, header: &Header) -> Bytes {
        self.bytes[BASE_AT..APPENDED_AT].copy_from_slice(&header.base.0.to_le_bytes());
        self.bytes[APPENDED_AT..COUNT_AT].copy_from_slice(&header.appended_at.0.to_le_bytes());
        self.bytes[COUNT_AT..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        let crc = crc32fast::hash(&self.bytes[BASE_AT..]);
        self.bytes[CRC_AT..BASE_AT].copy_from_slice(&crc.to_le_bytes());
        Bytes::from(self.bytes)
    }
}

/// The checksum that a sealed batch carries.
pub fn stored_crc(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(CRC_AT..)?.first_chunk()?))
}

/// Cuts `records` into batches.
pub fn encode(records: &[NewRecord]) -> Vec<Encoded> {
    let mut batches: Vec<Encoded> = Vec::new();
    for record in records {
        if batches.last().is_none_or(|batch| batch.bytes.len() >= TARGET_BYTES) {
            let mut bytes = Vec::with_capacity(HEADER_BYTES + record.size() + 16);
            bytes.push(VERSION);
            bytes.resize(HEADER_BYTES, 0);
            batches.push(Encoded { bytes, count: 0 });
        }
        if let Some(batch) = batches.last_mut() {
            put_record(&mut batch.bytes, record);
            batch.count += 1;
        }
    }
    batches
}

/// Checks the whole batch and reads its header.
pub fn check(bytes: &[u8]) -> Result<Header, BatchError> {
    if bytes.len() < HEADER_BYTES {
        return Err(BatchError::Short(bytes.len()));
    }
    if bytes[0] != VERSION {
        return Err(BatchError::Version(bytes[0]));
    }
    let stored = u32::from_le_bytes(fixed(bytes, CRC_AT));
    let computed = crc32fast::hash(&bytes[BASE_AT..]);
    if stored != computed {
        return Err(BatchError::Checksum { stored, computed });
    }
    Ok(Header {
        base: Offset(u64::from_le_bytes(fixed(bytes, BASE_AT))),
        appended_at: Instant(i64::from_le_bytes(fixed(bytes, APPENDED_AT))),
        count: u32::from_le_bytes(fixed(bytes, COUNT_AT)),
    })
}

/// The records of a checked batch, sharing its memory.
pub fn decode(bytes: &Bytes) -> Result<Vec<Record>, BatchError> {
    let header = check(bytes)?;
    let mut input = Input {
        bytes,
        at: HEADER_BYTES,
    };
    let mut records = Vec::with_capacity(header.count as usize);
    for index in 0..header.count {
        let offset = Offset(header.base.0 + u64::from(index));
        records.push(take_record(&mut input, offset).ok_or(BatchError::Record(index))?);
    }
    Ok(records)
}

fn fixed<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn put_record(out: &mut Vec<u8>, record: &NewRecord) {
    let at = record.timestamp.0;
    put_number(out, ((at << 1) ^ (at >> 63)) as u64);
    match &record.key {
        None => put_number(out, 0),
        Some(key) => {
            put_number(out, key.len() as u64 + 1);
            out.extend_from_slice(key);
        }
    }
    put_bytes(out, &record.value);
    put_number(out, record.headers.len() as u64);
    for (name, value) in &record.headers {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_record(input: &mut Input<'_>, offset: Offset) -> Option<Record> {
    let at = input.number()?;
    let timestamp = Instant((at >> 1) as i64 ^ -((at & 1) as i64));
    let key = match input.number()? {
        0 => None,
        length => Some(input.bytes(length - 1)?),
    };
    let length = input.number()?;
    let value = input.bytes(length)?;
    let mut headers = Vec::new();
    for _ in 0..input.number()? {
        let length = input.number()?;
        let name = String::from_utf8(input.bytes(length)?.to_vec()).ok()?;
        let length = input.number()?;
        headers.push((name, input.bytes(length)?));
    }
    Some(Record {
        offset,
        key,
        value,
        headers,
        timestamp,
    })
}

struct Input<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Input<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: u64) -> Option<Bytes> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        if end > self.bytes.len() {
            return None;
        }
        let part = self.bytes.slice(self.at..end);
        self.at = end;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(base: u64, count: u32) -> Header {
        Header {
            base: Offset(base),
            appended_at: Instant(7),
            count,
        }
    }

    fn sealed(records: &[NewRecord]) -> Bytes {
        let batch = encode(records).remove(0);
        let header = header(40, batch.count());
        batch.seal(&header)
    }

    fn sample() -> Vec<NewRecord> {
        let headers = vec![
            ("a".to_owned(), Bytes::from_static(b"1")),
            ("a".to_owned(), Bytes::new()),
        ];
        vec![
            NewRecord {
                key: Some(Bytes::new()),
                value: Bytes::from(vec![7; 300]),
                headers,
                timestamp: Instant(-3),
            },
            NewRecord {
                timestamp: Instant::MAX,
                ..NewRecord::default()
            },
            NewRecord {
                timestamp: Instant::MIN,
                ..NewRecord::default()
            },
        ]
    }

    #[test]
    fn what_goes_in_comes_out() {
        let bytes = sealed(&sample());
        assert_eq!(check(&bytes), Ok(header(40, 3)));
        let records = decode(&bytes).expect("decode");
        for (index, (sent, got)) in sample().into_iter().zip(records).enumerate() {
            assert_eq!(got.offset, Offset(40 + index as u64));
            assert_eq!((sent.key, sent.value, sent.headers), (got.key, got.value, got.headers));
            assert_eq!(sent.timestamp, got.timestamp);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let bytes = sealed(&sample());
        for at in 0..bytes.len() {
            let mut broken = bytes.to_vec();
            broken[at] ^= 0x10;
            assert!(check(&broken).is_err(), "byte {at}");
            assert!(check(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn many_records_are_cut_into_batches() {
        let record = NewRecord {
            value: Bytes::from(vec![1; 100_000]),
            ..NewRecord::default()
        };
        let batches = encode(&vec![record; 20]);
        assert_eq!(batches.iter().map(Encoded::count).collect::<Vec<_>>(), [6, 6, 6, 2]);
    }
}
