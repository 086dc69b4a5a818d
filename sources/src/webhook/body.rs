//! Reads a request's body: at most so many bytes, at most until a deadline.

use axum::body::Body;
use axum::body::HttpBody as _;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::time::{Duration, Instant, timeout_at};

use super::problem::Refusal;

/// How much of a refused body is read and thrown away, so that a sender that writes before it reads gets to see the
/// answer instead of a reset connection. Lower: senders of large bodies see a reset. Higher: strangers keep us busy.
const DISCARD_BYTES: usize = 128 << 20;
/// The same in time.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Bytes that the body will have, as far as its head says.
pub fn declared(body: &Body) -> Option<u64> {
    body.size_hint().exact()
}

/// The whole body. Never holds more than `limit` bytes and one frame.
pub async fn read(body: Body, limit: usize, deadline: Instant) -> Result<Bytes, Refusal> {
    let mut frames = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = match timeout_at(deadline, frames.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                return Err(Refusal::bad("broken-body", format!("the body ended early: {error}")).closing());
            }
            Ok(None) => break,
            Err(_) => {
                // Not 408: Alertmanager would give up.
                return Err(Refusal::later("slow-body", "the body did not arrive in time", 1).closing());
            }
        };
        if first.len() + rest.len() + frame.len() > limit {
            drop((first, rest));
            discard_frames(frames, deadline).await;
            return Err(too_large(limit));
        }
        if rest.is_empty() && first.is_empty() {
            // Most bodies are one frame: no copy.
            first = frame;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&first);
                first = Bytes::new();
            }
            rest.extend_from_slice(&frame);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Reads and throws away what follows, within bounds.
pub async fn discard(body: Body, deadline: Instant) {
    discard_frames(body.into_data_stream(), deadline).await;
}

async fn discard_frames(mut frames: axum::body::BodyDataStream, deadline: Instant) {
    let deadline = deadline.min(Instant::now() + DISCARD_TIME);
    let mut left = DISCARD_BYTES;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, frames.next()).await {
        let Some(less) = left.checked_sub(frame.len()) else {
            break;
        };
        left = less;
    }
}

pub fn too_large(limit: usize) -> Refusal {
    Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        format!("the body is over {limit} bytes"),
    )
    .remedy("send fewer alerts in one request (Alertmanager: `max_alerts`), or raise `max_body_bytes`")
    .closing()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frames: &[&'static str], limit: usize, expected: Result<&str, StatusCode>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let frames: Vec<Result<Bytes, std::io::Error>> = frames
            .iter()
            .map(|frame| Ok(Bytes::from_static(frame.as_bytes())))
            .collect();
        let body = Body::from_stream(futures::stream::iter(frames));
        let read = runtime.block_on(async { read(body, limit, Instant::now() + Duration::from_secs(60)).await });
        assert_eq!(
            read.as_deref().map_err(|refusal| refusal.status),
            expected.map(str::as_bytes)
        );
    }

    #[test]
    fn reads() {
        check(&[], 0, Ok(""));
        check(&["abc"], 3, Ok("abc"));
        check(&["a", "", "b", "c"], 3, Ok("abc"));
        check(&["ab", "cd"], 3, Err(StatusCode::PAYLOAD_TOO_LARGE));
        check(&["abcd"], 3, Err(StatusCode::PAYLOAD_TOO_LARGE));
    }
}
