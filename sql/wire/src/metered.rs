//! A connection whose messages may not be larger than a limit. The library waits for a gigabyte if a message says that it is so
//! long, also from somebody who has not logged in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest message from a client, in bytes: its texts of SQL and its parameters.
pub(crate) const LONGEST: u32 = 4 << 20;

/// Reads along, from the startup message on.
#[derive(Debug)]
pub(crate) struct Metered<T> {
    inner: T,
    /// Bytes of the message under way that are still to come.
    rest: u64,
    /// Its head, as far as it has come: kind and length; the startup message has no kind.
    head: Vec<u8>,
    head_length: usize,
}

impl<T> Metered<T> {
    /// `read`: what has been read already.
    pub fn new(inner: T, read: &[u8]) -> io::Result<Self> {
        let mut metered = Metered {
            inner,
            rest: 0,
            head: Vec::with_capacity(5),
            head_length: 4,
        };
        metered.see(read)?;
        Ok(metered)
    }

    fn see(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = bytes.len().min(usize::try_from(self.rest).unwrap_or(usize::MAX));
                bytes = &bytes[skipped..];
                self.rest -= skipped as u64;
                continue;
            }
            let wanted = (self.head_length - self.head.len()).min(bytes.len());
            let (more, later) = bytes.split_at(wanted);
            self.head.extend_from_slice(more);
            bytes = later;
            if self.head.len() == self.head_length {
                let digits = &self.head[self.head_length - 4..];
                let length = digits.iter().fold(0_u32, |length, byte| length << 8 | u32::from(*byte));
                // It counts itself.
                if !(4..=LONGEST).contains(&length) {
                    let text = format!("a message of {length} bytes; the longest that is taken has {LONGEST}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                self.rest = u64::from(length - 4);
                self.head.clear();
                self.head_length = 5;
            }
        }
        Ok(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = &read {
            let new = buffer.filled().get(before..).unwrap_or_default();
            if let Err(refused) = self.see(new) {
                return Poll::Ready(Err(refused));
            }
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Option<u8>, length: u32, body: usize) -> Vec<u8> {
        let head = kind.into_iter().chain(length.to_be_bytes());
        head.chain(std::iter::repeat_n(7, body)).collect()
    }

    #[test]
    fn however_the_bytes_are_cut() {
        let mut all = message(None, 12, 8);
        all.extend(message(Some(b'Q'), 4, 0));
        all.extend(message(Some(b'Q'), 1_004, 1_000));
        for size in 1..20 {
            let mut metered = Metered::new((), &[]).unwrap();
            all.chunks(size).for_each(|piece| metered.see(piece).unwrap());
            assert!(metered.rest == 0 && metered.head.is_empty(), "{size}");
            metered.see(&message(Some(b'Q'), LONGEST, 100)).unwrap();
        }
    }

    #[test]
    fn what_is_too_long_or_makes_no_sense_is_refused_at_its_head() {
        for length in [0, 3, LONGEST + 1, u32::MAX] {
            let mut metered = Metered::new((), &message(None, 8, 4)).unwrap();
            assert!(metered.see(&message(Some(b'Q'), length, 0)).is_err(), "{length}");
        }
    }
}
