//! The message of a unary call: `FLAG LENGTH CONTENT`, one byte that says whether the content is compressed, four bytes big endian, and so
//! many bytes (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, "Length-Prefixed-Message").
//!
//! The length is judged before anything is kept of the content, and memory is taken for what is announced, no more.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use crate::webhook::body::too_large;
use crate::webhook::problem::Refusal;

/// Flag and length.
const PREFIX: usize = 5;

/// A message as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub compressed: bool,
    pub content: Bytes,
}

/// The one message of `body`, of at most `most` bytes. `reserve` is asked once for its length; what it gives comes back with the message.
pub async fn read<M>(
    body: Body,
    most: usize,
    deadline: Instant,
    reserve: impl Fn(usize) -> Result<M, Refusal>,
) -> Result<(Message, M), Refusal> {
    let mut frames = body.into_data_stream();
    let mut unread = BytesMut::new();
    // Compressed or not, length, and the memory for it.
    let mut known: Option<(bool, usize, M)> = None;
    loop {
        let frame = match timeout_at(deadline, frames.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(broken(&format!("the call ended early: {error}"))),
            Ok(None) => break,
            Err(_) => return Err(Refusal::later("slow-body", "the message did not arrive in time", 1)),
        };
        unread.extend_from_slice(&frame);
        if known.is_none()
            && let Some((compressed, length)) = prefix(&unread)?
        {
            if length > most {
                return Err(too_large(most));
            }
            known = Some((compressed, length, reserve(length)?));
            unread.reserve((PREFIX + length).saturating_sub(unread.len()));
        }
        if let Some((_, length, _)) = &known
            && unread.len() > PREFIX + length
        {
            return Err(broken("there is something behind the message: a unary call has one"));
        }
    }
    let Some((compressed, length, memory)) = known else {
        return Err(broken("the call ended before its message"));
    };
    if unread.len() < PREFIX + length {
        let detail = format!("the call ended {} bytes early", PREFIX + length - unread.len());
        return Err(broken(&detail));
    }
    let content = unread.freeze().slice(PREFIX..);
    Ok((Message { compressed, content }, memory))
}

/// Whether it is compressed, and how long it is; `None` until five bytes are there.
fn prefix(bytes: &[u8]) -> Result<Option<(bool, usize)>, Refusal> {
    let Some((head, _)) = bytes.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let [flag, length @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    match flag {
        0 | 1 => Ok(Some((flag == 1, length))),
        other => Err(broken(&format!(
            "the message begins with {other}, which must be 0 or 1"
        ))),
    }
}

fn broken(detail: &str) -> Refusal {
    Refusal::bad("broken-body", detail)
}

/// An uncompressed message. Answers are short: longer than 4 GiB they are not.
pub fn written(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], content].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// However the bytes are cut; the limit is 8, and memory is given for 6.
    #[track_caller]
    fn check(bytes: &[u8], expected: Result<(bool, &[u8]), &str>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        for cut in 1..=bytes.len().max(1) {
            let frames: Vec<Result<Bytes, std::io::Error>> =
                bytes.chunks(cut).map(|part| Ok(Bytes::copy_from_slice(part))).collect();
            let body = Body::from_stream(futures::stream::iter(frames));
            let reserve = |bytes: usize| match bytes > 6 {
                true => Err(Refusal::later("too-many-requests", "", 1)),
                false => Ok(bytes),
            };
            let deadline = Instant::now() + Duration::from_secs(60);
            let found = runtime.block_on(read(body, 8, deadline, reserve));
            let shown = match &found {
                Ok((message, memory)) => {
                    assert_eq!(*memory, message.content.len());
                    Ok((message.compressed, &message.content[..]))
                }
                Err(refusal) => Err(refusal.reason),
            };
            assert_eq!(shown, expected, "cut into {cut}");
        }
    }

    #[test]
    fn messages() {
        check(b"\0\0\0\0\x03abc", Ok((false, b"abc")));
        check(b"\x01\0\0\0\x01a", Ok((true, b"a")));
        check(b"\0\0\0\0\0", Ok((false, b"")));
        check(&written(b"abc"), Ok((false, b"abc")));
        check(b"", Err("broken-body"));
        check(b"\0\0\0\0", Err("broken-body"));
        check(b"\0\0\0\0\x03ab", Err("broken-body"));
        check(b"\0\0\0\0\x03abcd", Err("broken-body"));
        check(b"\x02\0\0\0\x03abc", Err("broken-body"));
        check(b"POST / HTTP/1.1", Err("broken-body"));
        check(b"\0\0\0\0\x07", Err("too-many-requests"));
        check(b"\0\0\0\0\x09", Err("too-large"));
        check(b"\0\xff\xff\xff\xff", Err("too-large"));
    }
}
