//! Accepts connections and serves HTTP/1.1 on them, or HTTP/2 where gRPC is spoken, within limits: so many connections, so many of one address,
//! so long for a request's head, so many lines in it. One address cannot take every connection, however slowly it sends.
//! (`axum::serve` sets no timeout on heads.) TLS is a reverse proxy's business.

mod http2;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use stream::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::flow::Peer;

/// Pause after a failed accept (out of file descriptors): without it the loop would spin until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What hyper takes without being asked, with room for it on the stack.
const HEADERS: usize = 100;

/// What is spoken on a door's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    /// Without TLS and without being asked (prior knowledge), as gRPC.
    Http2,
}

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    /// Of one address.
    pub per_address: usize,
    /// Lines in a request's head.
    pub headers: usize,
    /// For a request's head, and for an idle connection.
    pub head: Duration,
    /// How long requests in flight may take once `stop` is given.
    pub grace: Duration,
}

/// Serves until `stop`; then accepts no more, closes idle connections and finishes the requests in flight.
pub fn serve(
    listener: TcpListener,
    speaks: Speaks,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) -> BoxFuture<'static, ()> {
    Box::pin(serve_until(listener, speaks, router, limits, stop))
}

async fn serve_until(listener: TcpListener, speaks: Speaks, router: Router, limits: Limits, stop: CancellationToken) {
    let seats = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::default();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &seats) => accepted,
        };
        let Some((stream, peer, seat)) = accepted else { continue };
        let Some(place) = addresses.enter(peer.ip(), limits.per_address) else {
            metrics::counter!("aegis_webhook_connections_refused_total", "reason" => "address").increment(1);
            tracing::debug!(%peer, "a connection too many of one address is closed");
            continue;
        };
        let (router, stop) = (router.clone(), stop.clone());
        connections.spawn(async move {
            match speaks {
                Speaks::Http1 => connection(stream, peer, router, limits, stop).await,
                Speaks::Http2 => http2::connection(stream, peer, router, limits, stop).await,
            }
            drop((place, seat));
        });
        let gauge = match speaks {
            Speaks::Http1 => "aegis_webhook_connections",
            Speaks::Http2 => "aegis_otlp_grpc_connections",
        };
        metrics::gauge!(gauge).set(connections.len() as f64);
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = tokio::time::timeout(limits.grace, async { while connections.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections still open after the grace period are cut"
        );
        connections.shutdown().await;
    }
}

/// The next connection, once there is a seat for it.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, seat)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// How many connections each address holds.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl Addresses {
    /// A place for one more connection of `address`, given back when dropped; `None` when it has `most`.
    fn enter(&self, address: IpAddr, most: usize) -> Option<Place> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place {
            addresses: self.clone(),
            address,
        })
    }
}

struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.addresses.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, limits: Limits, stop: CancellationToken) {
    // Small answers should not wait for more to send.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        let answer = router.clone().oneshot(request);
        async move { Ok::<Response, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(limits.head);
    if limits.headers != HEADERS {
        server.max_headers(limits.headers);
    }
    // What is upgraded (Socket.IO) is no longer counted here: it has limits of its own.
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        let reason = if error.is_parse_too_large() {
            Some("head-too-large")
        } else if error.is_timeout() {
            Some("slow-head")
        } else {
            None
        };
        if let Some(reason) = reason {
            metrics::counter!("aegis_webhook_refused_total", "sender" => "", "reason" => reason).increment(1);
        }
        tracing::debug!(%peer, %error, "connection ended");
    }
}
