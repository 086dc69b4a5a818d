//! One connection that speaks HTTP/2 without TLS, as gRPC does. A connection on which no request is in flight is closed after the time that a
//! head may take, whatever else it sends or does not send: one that never says the preface, one whose header block does not end, one whose peer
//! is gone without a word. A request in flight has its own deadline. So no pings are needed to find the dead.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::Limits;
use crate::webhook::flow::Peer;

/// Requests at a time on one connection. More: one client may keep more of us busy; fewer: a collector with many workers waits.
const STREAMS: u32 = 128;

/// Bytes that a connection may send ahead of what is read of them; they are counted nowhere else. More: faster over a long way, and more memory for
/// who sends and is not read.
const WINDOW: u32 = 256 << 10;

/// Bytes of a header block, as HPACK counts them.
const HEADER_BYTES: u32 = 16 << 10;

/// Bytes of answers that wait for a client to read them. Answers are small.
const SEND_BYTES: usize = 64 << 10;

/// For the last words to a connection that is closed.
const FAREWELL: Duration = Duration::from_secs(1);

pub async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, limits: Limits, stop: CancellationToken) {
    // Small answers should not wait for more to send.
    let _ = stream.set_nodelay(true);
    let requests = Requests::default();
    let counted = requests.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let in_flight = counted.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = router.clone().oneshot(request);
        async move {
            let response: Response = answer.await.unwrap_or_else(|never| match never {});
            drop(in_flight);
            Ok::<_, Infallible>(response)
        }
    });
    let mut server = http2::Builder::new(TokioExecutor::new());
    server
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEADER_BYTES)
        .max_send_buf_size(SEND_BYTES);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = requests.none_for(limits.head) => {
            metrics::counter!("aegis_webhook_connections_closed_total", "reason" => "idle").increment(1);
            connection.as_mut().graceful_shutdown();
            // Who does not answer is cut.
            timeout(FAREWELL, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// How many requests of one connection are in flight, and since when.
#[derive(Clone)]
struct Requests(Arc<watch::Sender<(usize, Instant)>>);

impl Default for Requests {
    fn default() -> Self {
        Requests(Arc::new(watch::Sender::new((0, Instant::now()))))
    }
}

impl Requests {
    /// One more, until it is dropped.
    fn begin(&self) -> InFlight {
        self.0.send_modify(|(count, _)| *count += 1);
        InFlight(self.clone())
    }

    /// Returns once there was none for `long`.
    async fn none_for(&self, long: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let (count, since) = *changes.borrow_and_update();
            let idle = async {
                match count {
                    0 => sleep_until(since + long).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                () = idle => return,
                // The sender is ours: it does not go away.
                _ = changes.changed() => {}
            }
        }
    }
}

struct InFlight(Requests);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.send_modify(|(count, since)| {
            *count -= 1;
            *since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_is_idle_with_a_request_in_flight() {
        let requests = Requests::default();
        let (one, two) = (requests.begin(), requests.begin());
        let mut idle = pin!(requests.none_for(Duration::ZERO));
        assert!(futures::poll!(idle.as_mut()).is_pending());
        drop(one);
        assert!(futures::poll!(idle.as_mut()).is_pending());
        drop(two);
        idle.await;
    }
}
