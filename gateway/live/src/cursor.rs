//! How far a client got.

use std::fmt;

use stream::LogId;

/// Where to go on in each partition of one topic, on one log. A client keeps it as a text and need not understand it.
///
/// `LOG.OFFSET.OFFSET…`: the log's name as a hash, so that a cursor of another log is not taken for one of this; then by partition the next
/// offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    log: u32,
    next: Vec<u64>,
}

/// Bytes of a cursor's text: that of a topic of 1,024 partitions, which is the most that there can be.
const MOST: usize = 16 << 10;

impl Cursor {
    pub fn new(log: &LogId, next: Vec<u64>) -> Self {
        Cursor {
            log: hash(&log.0),
            next,
        }
    }

    /// `None` for what is none, or one of another log, or of another number of partitions.
    pub fn parse(text: &str, log: &LogId, partitions: usize) -> Option<Self> {
        if text.len() > MOST {
            return None;
        }
        let mut parts = text.split('.');
        let named = u32::from_str_radix(parts.next()?, 16).ok()?;
        let next: Vec<u64> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
        (named == hash(&log.0) && next.len() == partitions).then_some(Cursor { log: named, next })
    }

    pub fn partitions(&self) -> usize {
        self.next.len()
    }

    /// The next offset of a partition; the log's first where there is no such partition.
    pub fn at(&self, partition: usize) -> u64 {
        self.next.get(partition).copied().unwrap_or(0)
    }

    pub fn advance(&mut self, partition: usize, next: u64) {
        if let Some(at) = self.next.get_mut(partition) {
            *at = next.max(*at);
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.log)?;
        self.next.iter().try_for_each(|next| write!(f, ".{next}"))
    }
}

/// FNV-1a, 32 bits.
fn hash(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_there_and_back() {
        let log = LogId("one".to_owned());
        let mut cursor = Cursor::new(&log, vec![0, 17, u64::MAX]);
        assert_eq!(Cursor::parse(&cursor.to_string(), &log, 3), Some(cursor.clone()));
        cursor.advance(0, 5);
        cursor.advance(0, 4);
        cursor.advance(7, 4);
        assert_eq!((cursor.at(0), cursor.at(1), cursor.at(7)), (5, 17, 0));
    }

    #[test]
    fn what_is_none() {
        let log = LogId("one".to_owned());
        let good = Cursor::new(&log, vec![1, 2]).to_string();
        assert!(Cursor::parse(&good, &log, 2).is_some());
        assert!(Cursor::parse(&good, &log, 3).is_none());
        assert!(Cursor::parse(&good, &LogId("two".to_owned()), 2).is_none());
        let long = format!("{good}{}", ".1".repeat(MOST));
        for text in ["", ".", "zz.1.2", "00000000.1.2", "1.-1.2", "1.1.2.", &good[1..], &long] {
            assert_eq!(Cursor::parse(text, &log, 2), None, "{text}");
        }
    }
}
