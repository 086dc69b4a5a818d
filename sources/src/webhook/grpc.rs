//! The door for log lines over gRPC: `opentelemetry.proto.collector.logs.v1.LogsService/Export`, on a port of its own
//! (<https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>). What comes in goes the way of `POST /v1/logs`: the message is the body there, so
//! decoder, limits, records and the name of a delivery are the same.
//!
//! The steps, each guarding those below it:
//!
//! ```text
//!   connections, streams, idle time   (server/http2.rs)
//!   header fields      INVALID_ARGUMENT
//!   rate               RESOURCE_EXHAUSTED, with a RetryInfo
//!   authentication     UNAUTHENTICATED     before a byte of the message is read; it explains nothing
//!   length             INVALID_ARGUMENT    as announced by the first five bytes of the message
//!   memory             UNAVAILABLE         its length is taken from the budget that all doors share
//!   message, in time   UNAVAILABLE         (message.rs)
//!   unpacking          INVALID_ARGUMENT    gzip, within `max_body_bytes`
//!   lines, append      as over HTTP        (logs.rs) durable before the answer
//! ```
//!
//! The codes are those that make OpenTelemetry's clients do the right thing: UNAVAILABLE and RESOURCE_EXHAUSTED are only said of what may be
//! sent again, and say when (`google.rpc.RetryInfo`); what is too large is INVALID_ARGUMENT, because some clients send again whatever was
//! RESOURCE_EXHAUSTED. Records that were rejected are counted in `partial_success`.
//!
//! Not here: traces and metrics (UNIMPLEMENTED), TLS (a reverse proxy's business), reflection, health checks.

pub(super) mod message;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;

use super::flow::Peer;
use super::logs::{LogEndpoint, Taken, tenant_of};
use super::problem::Refusal;
use crate::logs::{Form, otlp};
use message::Message;

/// In metrics and in the log; the lines' sender is `otlp`.
const NAME: &str = "otlp_grpc";

/// Service and method.
pub const PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

const GRPC: &str = "application/grpc";
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What the door is made of.
struct Service {
    endpoint: LogEndpoint,
    max_headers: usize,
}

/// The door over `endpoint`, without the limits on connections (those are the server's).
pub(super) fn routes(endpoint: LogEndpoint, max_headers: usize) -> Router {
    let service = Arc::new(Service { endpoint, max_headers });
    Router::new()
        .route(PATH, post(export).with_state(service))
        .fallback(unknown_method)
        .layer(CatchPanicLayer::new())
}

/// Takes or refuses one call.
async fn export(State(service): State<Arc<Service>>, request: Request) -> Response {
    if !speaks_grpc(request.headers()) {
        // As gRPC's own specification wants it.
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let peer = request.extensions().get().map(|Peer(address)| *address);
    let (status, response) = match service.take(request, peer).await {
        Ok(taken) => (StatusCode::OK, accepted(&taken)),
        Err(refusal) => {
            metrics::counter!("aegis_webhook_refused_total", "sender" => NAME, "reason" => refusal.reason).increment(1);
            if refusal.status.is_client_error() && refusal.status != StatusCode::UNAUTHORIZED {
                let place = refusal.place.as_deref().unwrap_or_default();
                tracing::warn!(
                    sender = NAME,
                    ?peer,
                    place,
                    detail = refusal.detail,
                    "log lines refused"
                );
            }
            (refusal.status, refused(&refusal))
        }
    };
    // As the same answer is counted over HTTP.
    let status = status.as_u16().to_string();
    metrics::counter!("aegis_webhook_requests_total", "sender" => NAME, "status" => status).increment(1);
    response
}

impl Service {
    async fn take(&self, request: Request, peer: Option<SocketAddr>) -> Result<Taken, Refusal> {
        let dispatcher = &self.endpoint.dispatcher;
        let deadline = Instant::now() + dispatcher.request_timeout;
        let (head, body) = request.into_parts();
        if head.headers.len() > self.max_headers {
            let detail = format!("more than {} metadata fields", self.max_headers);
            return Err(Refusal::bad("head-too-large", detail));
        }
        let too_fast = StatusCode::TOO_MANY_REQUESTS;
        dispatcher.knock(NAME, too_fast, &self.endpoint.guard, &head.headers, peer)?;
        let most = dispatcher.max_body_bytes;
        let (message, memory) = message::read(body, most, deadline, |bytes| dispatcher.share(bytes)).await?;
        metrics::counter!("aegis_webhook_body_bytes_total", "sender" => NAME).increment(message.content.len() as u64);
        let tenant = tenant_of(&head.headers)?;
        let (content, more_memory) = match packed(&head.headers, &message)? {
            true => {
                let (content, memory) = self.endpoint.gunzip(&message.content)?;
                (content, Some(memory))
            }
            false => (message.content, None),
        };
        let taken = self.endpoint.store(Form::Protobuf, &tenant, content, deadline).await;
        drop((memory, more_memory));
        taken
    }
}

fn speaks_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    value.eq_ignore_ascii_case(GRPC) || value.eq_ignore_ascii_case("application/grpc+proto")
}

/// Whether the message must be unpacked.
fn packed(headers: &HeaderMap, message: &Message) -> Result<bool, Refusal> {
    let encoding = headers
        .get(GRPC_ENCODING)
        .map_or(&b"identity"[..], HeaderValue::as_bytes);
    match (message.compressed, encoding) {
        (false, _) => Ok(false),
        (true, b"gzip") => Ok(true),
        (true, b"identity") => {
            let detail = "the message says it is compressed, and no grpc-encoding says how";
            Err(Refusal::bad("content-encoding", detail).place("metadata grpc-encoding"))
        }
        (true, other) => {
            let detail = format!("grpc-encoding {:?} is not supported", String::from_utf8_lossy(other));
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail);
            Err(refusal.place("metadata grpc-encoding").remedy("send gzip, or none"))
        }
    }
}

/// `ExportLogsServiceResponse`, and the status behind it.
fn accepted(taken: &Taken) -> Response {
    let answer = otlp::answer(Form::Protobuf, taken.rejected, &taken.message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::<Bytes>::from(message::written(&answer)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip"));
    response
}

fn refused(refusal: &Refusal) -> Response {
    let mut response = status::of(refusal).into_http::<Body>();
    // Who sent another encoding learns which ones there are.
    let encodings = HeaderValue::from_static("identity,gzip");
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, encodings);
    response
}

async fn unknown_method(OriginalUri(uri): OriginalUri) -> Response {
    let detail = format!("there is no {}", uri.path());
    let refusal = Refusal::new(StatusCode::NOT_FOUND, "unknown-path", detail);
    refused(&refusal.remedy(format!("logs alone are taken, by {PATH}")))
}
