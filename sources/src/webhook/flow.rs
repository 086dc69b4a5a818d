//! What happens to a request, in this order. The order matters: each step guards those below it.
//!
//! ```text
//!   connections, head timeout   (server.rs)  bounds strangers: so many connections, so long for a head
//!   declared size               413          nothing is read of what is too large anyway
//!   rate                        503 or 429   by endpoint and address; the status is the one that makes the sender come again
//!   authentication              401          before memory is spent on a body
//!   memory                      503          all bodies being read share one budget
//!   body, bounded in time       413, 503     a body without a declared size ends at the limit
//!   signature                   401          over the bytes as sent, before anything is parsed
//!   routing key                 400          where the credential stands in the body
//!   depth                       400          before anything descends into it
//!   shape                       4xx          what the sender can mend is said to the sender
//!   delivery key                             over the bytes as sent: redaction must not make deliveries equal
//!   redaction                   400          before the append: a secret never reaches the log
//!   append                      503          durable, or the sender is told to send again
//!   202                                      only after all of it
//! ```
//!
//! One deadline covers body and append. Whatever ends between append and answer (a crash, a client that went away, the
//! deadline) may leave a record without a 202: the sender sends again, and dedupe recognises the delivery.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderName, StatusCode, request};
use axum::response::Response;
use bytes::Bytes;
use model::RawEvent;
use model::raw::header;
use stream::time::Clock;
use stream::{Ingress, IngressError, LogError, NewRecord};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, timeout_at};

use super::auth::{Guard, Verdict};
use super::integrations::{self, Integrations};
use super::problem::Refusal;
use super::rate::Rates;
use super::redact::{self, Redaction};
use super::senders::{Sender, delivery_key};
use super::settings::{SMALLEST_SHARE, WebhookSettings};
use super::{WebhookError, body, redaction_of, shape};

/// Where a request came from; an extension that the server sets.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What all endpoints share.
pub struct Dispatcher {
    pub ingress: Ingress,
    pub clock: Arc<dyn Clock>,
    pub redaction: Redaction,
    pub max_body_bytes: usize,
    pub max_depth: usize,
    pub rates: Rates,
    /// One permit is one byte of body in memory.
    pub memory: Arc<Semaphore>,
    pub request_timeout: Duration,
}

/// One endpoint.
pub struct Endpoint {
    pub sender: &'static dyn Sender,
    /// The value of `aegis-sender`: the sender's name, with the mapper's behind it where there is one.
    pub stored_as: String,
    pub guard: Guard,
    /// Where the credential is a key in the body.
    pub integrations: Option<Integrations>,
    /// The dispatcher's, and the sender's credentials.
    pub redaction: Redaction,
    pub dispatcher: Arc<Dispatcher>,
}

/// What was stored.
struct Stored {
    delivery: String,
    /// As it was sent.
    body: Bytes,
}

/// Takes or refuses one delivery.
pub async fn deliver(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    let sender = endpoint.sender.name();
    let peer = request.extensions().get().map(|Peer(address)| *address);
    let response = match endpoint.take(request, peer).await {
        Ok(stored) => endpoint.sender.accepted(&stored.delivery, &stored.body),
        Err(refusal) => {
            metrics::counter!("aegis_webhook_refused_total", "sender" => sender, "reason" => refusal.reason)
                .increment(1);
            // The sender's fault is for a person to mend; ours (5xx) is logged where it arises.
            if refusal.status.is_client_error() && refusal.status != StatusCode::UNAUTHORIZED {
                let place = refusal.place.as_deref().unwrap_or_default();
                tracing::warn!(
                    sender,
                    ?peer,
                    status = refusal.status.as_u16(),
                    place,
                    detail = refusal.detail,
                    "delivery refused"
                );
            }
            endpoint.sender.refused(refusal)
        }
    };
    let status = response.status().as_u16().to_string();
    metrics::counter!("aegis_webhook_requests_total", "sender" => sender, "status" => status).increment(1);
    response
}

impl Dispatcher {
    /// Of checked settings.
    pub fn new(settings: &WebhookSettings, ingress: Ingress, clock: Arc<dyn Clock>) -> Result<Self, WebhookError> {
        Ok(Dispatcher {
            ingress,
            clock,
            redaction: redaction_of(settings, &[])?,
            max_body_bytes: settings.max_body_bytes,
            max_depth: settings.max_depth,
            rates: Rates::new(settings.rate_per_s, settings.rate_burst),
            memory: Arc::new(Semaphore::new(settings.max_buffered_bytes)),
            request_timeout: settings.request_timeout(),
        })
    }

    /// Everything that is decided on the head alone. Takes its share of the memory, to be held until the answer. Who comes too fast gets
    /// the status `too_fast`.
    pub fn admit(
        &self,
        sender: &'static str,
        too_fast: StatusCode,
        guard: &Guard,
        head: &request::Parts,
        body: &Body,
        peer: Option<SocketAddr>,
    ) -> Result<(Verdict, OwnedSemaphorePermit), Refusal> {
        let limit = self.max_body_bytes;
        let declared = body::declared(body).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if declared.is_some_and(|bytes| bytes > limit) {
            return Err(body::too_large(limit));
        }
        let verdict = self.knock(sender, too_fast, guard, &head.headers, peer)?;
        // A body of unknown size may grow to the limit.
        let memory = self.share(declared.unwrap_or(limit))?;
        Ok((verdict, memory))
    }

    /// Rate, and credentials of the head.
    pub fn knock(
        &self,
        sender: &'static str,
        too_fast: StatusCode,
        guard: &Guard,
        headers: &HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Result<Verdict, Refusal> {
        let address = peer.map(|peer| peer.ip());
        let taken = self.rates.take(sender, address, Instant::now());
        taken.map_err(|wait_s| Refusal::too_fast(too_fast, wait_s))?;
        guard.admit(headers).map_err(|stranger| {
            tracing::warn!(sender, ?peer, reason = %stranger, "delivery from a stranger refused");
            stranger.refusal()
        })
    }

    /// A share of the memory for bodies.
    pub fn share(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let share = u32::try_from(bytes.max(SMALLEST_SHARE)).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(share);
        memory.map_err(|_| Refusal::later("too-many-requests", "too many requests at a time", 1).closing())
    }
}

impl Endpoint {
    async fn take(&self, request: Request, peer: Option<SocketAddr>) -> Result<Stored, Refusal> {
        let deadline = Instant::now() + self.dispatcher.request_timeout;
        let (head, body) = request.into_parts();
        let (name, too_fast) = (self.sender.name(), self.sender.too_fast());
        let admitted = self.dispatcher.admit(name, too_fast, &self.guard, &head, &body, peer);
        let (verdict, _memory) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                // A sender that asked first (`Expect: 100-continue`) has sent nothing yet and need not.
                if !head.headers.contains_key(EXPECT) {
                    body::discard(body, deadline).await;
                }
                return Err(refusal);
            }
        };
        let body = body::read(body, self.dispatcher.max_body_bytes, deadline).await?;
        metrics::counter!("aegis_webhook_body_bytes_total", "sender" => self.sender.name())
            .increment(body.len() as u64);
        let now = self.dispatcher.clock.now();
        let verdict = self
            .guard
            .verify(verdict, &head.headers, &body, now)
            .map_err(|stranger| {
                tracing::warn!(sender = self.sender.name(), ?peer, reason = %stranger, "delivery from a stranger refused");
                stranger.refusal()
            })?;
        plain(&head.headers)?;
        let integration = match &self.integrations {
            Some(integrations) => integrations.find(&head.headers, &body)?,
            None => None,
        };
        let verdict = integration.map_or(verdict, |_| Verdict::Bearer);
        shape::depth(&body, self.dispatcher.max_depth)?;
        let delivery = delivery_key(&self.stored_as, self.sender, &head.headers, &body);
        let sent = body.clone();
        let (body, content_type) = match self.sender.unwrapped(&head.headers, &body)? {
            Some(json) => {
                shape::depth(&json, self.dispatcher.max_depth)?;
                (json, Some("application/json".to_owned()))
            }
            None => (body, text_of(&head.headers, &CONTENT_TYPE)),
        };
        self.sender.check(&head.headers, &body)?;
        let mut event = self.event(&head.headers, body, delivery, content_type, verdict)?;
        if let Some(name) = integration {
            event.headers.push((integrations::HEADER.to_owned(), name.to_owned()));
        }
        let order = self.sender.order_key(&sent);
        let delivery = self.append(event, order, deadline).await?;
        Ok(Stored { delivery, body: sent })
    }

    /// The record that will be stored.
    pub fn event(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        delivery: String,
        content_type: Option<String>,
        verdict: Verdict,
    ) -> Result<RawEvent, Refusal> {
        let redaction = &self.redaction;
        let mut kept = Vec::new();
        for (name, value) in headers {
            if !redaction.keeps_header(name.as_str()) {
                continue;
            }
            // Whose trace the sender was in; it decides nothing.
            let traced = (name == "traceparent").then(|| format!("{}traceparent", header::HTTP_PREFIX));
            if let Some(stored) = self.sender.keep_header(name.as_str()).or(traced) {
                kept.push((stored, String::from_utf8_lossy(value.as_bytes()).into_owned()));
            }
        }
        let body = match redaction.body(&body) {
            Ok(None) => body,
            Ok(Some(redacted)) => {
                kept.push((redact::HEADER.to_owned(), redacted.rules.join(",")));
                redacted.body.into()
            }
            // Binary data of a CloudEvent. It names no fields.
            Err(_) if shape::valid(&body).is_err() => body,
            Err(error) => return Err(shape::malformed(&body, &error)),
        };
        Ok(RawEvent {
            sender: self.stored_as.clone(),
            received_at: self.dispatcher.clock.now().0,
            delivery,
            verdict: verdict.as_str().to_owned(),
            content_type: content_type.unwrap_or_default(),
            headers: kept,
            body,
        })
    }

    /// Returns the delivery key once the record is durable.
    pub async fn append(&self, event: RawEvent, order: Option<String>, deadline: Instant) -> Result<String, Refusal> {
        let sender = self.sender.name();
        let record = NewRecord {
            key: None,
            headers: event.to_headers(),
            value: event.body,
            timestamp: stream::Instant(event.received_at),
        };
        let started = Instant::now();
        let partition_key = order.as_deref().unwrap_or(&event.delivery);
        let append = self.dispatcher.ingress.append(partition_key.as_bytes(), record);
        let appended = timeout_at(deadline, append).await;
        metrics::histogram!("aegis_webhook_append_seconds", "sender" => sender).record(started.elapsed().as_secs_f64());
        match appended {
            Ok(Ok(_)) => Ok(event.delivery),
            Ok(Err(IngressError::Busy { retry_after_s })) => {
                Err(Refusal::later("busy", "the pipeline is behind", retry_after_s))
            }
            Ok(Err(IngressError::Log(LogError::TooLarge { limit, .. }))) => Err(body::too_large(limit)),
            Ok(Err(IngressError::Log(error))) => {
                tracing::error!(sender, delivery = event.delivery, %error, "delivery not stored");
                Err(Refusal::later("log", "the delivery could not be stored", 5))
            }
            Err(_) => {
                tracing::error!(sender, delivery = event.delivery, "delivery not stored in time");
                Err(Refusal::later(
                    "slow-log",
                    "the delivery could not be stored in time",
                    5,
                ))
            }
        }
    }
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// Refuses compressed bodies, which would otherwise be called malformed JSON.
fn plain(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            let detail = format!("content encoding {encoding:?} is not supported");
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail);
            Err(refusal
                .place("header content-encoding")
                .remedy("send the body uncompressed"))
        }
        _ => Ok(()),
    }
}
