//! Cuts the bytes of a watch into its lines, each a JSON object. A line longer than the limit is refused before it fills the memory.

use bytes::{Bytes, BytesMut};

/// What has come and is not read yet.
pub struct Lines {
    buffer: BytesMut,
    /// Bytes at the front that hold no line feed.
    searched: usize,
    limit: usize,
}

/// A line is longer than this.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong(pub usize);

impl Lines {
    pub fn new(limit: usize) -> Self {
        Lines {
            buffer: BytesMut::new(),
            searched: 0,
            limit,
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line that is not empty, without its end.
    pub fn take(&mut self) -> Result<Option<Bytes>, TooLong> {
        loop {
            let Some(found) = memchr::memchr(b'\n', &self.buffer[self.searched..]) else {
                self.searched = self.buffer.len();
                return match self.searched > self.limit {
                    true => Err(TooLong(self.limit)),
                    false => Ok(None),
                };
            };
            let line = self.buffer.split_to(self.searched + found + 1).freeze();
            self.searched = 0;
            let line = line.slice(..line.len() - 1);
            if line.len() > self.limit {
                return Err(TooLong(self.limit));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// What has begun and not ended, if anything.
    pub fn rest(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let rest = self.buffer.split().freeze();
        (!rest.trim_ascii().is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = b"{\"a\":1}\n\n \r\n{\"b\":2}\r\n{\"c";
        for cut in 1..=text.len() {
            let mut lines = Lines::new(100);
            let mut found = Vec::new();
            for part in text.chunks(cut) {
                lines.push(part);
                while let Some(line) = lines.take().unwrap() {
                    found.push(String::from_utf8(line.trim_ascii().to_vec()).unwrap());
                }
            }
            assert_eq!(found, ["{\"a\":1}", "{\"b\":2}"], "cut into {cut}");
            assert_eq!(lines.rest().unwrap().trim_ascii(), b"{\"c");
            assert_eq!(lines.rest(), None);
        }
    }

    #[test]
    fn long_lines_are_refused() {
        let mut lines = Lines::new(3);
        lines.push(b"abc\nabcd");
        assert_eq!(lines.take().unwrap().unwrap(), "abc");
        assert_eq!(lines.take(), Err(TooLong(3)));
        let mut lines = Lines::new(3);
        lines.push(b"abcd\n");
        assert_eq!(lines.take(), Err(TooLong(3)));
    }
}
