//! The doors for log lines: `POST /v1/logs` (OTLP) and `POST /loki/api/v1/push`; and what is behind them and behind OTLP over gRPC (`grpc.rs`).
//! What comes in becomes records of topic `logs`.
//!
//! The steps are those of a webhook (`flow.rs`), with two between them: a compressed body is taken apart within
//! `max_body_bytes`, its share of the memory taken first; and it is read to the end, since a record of `logs` holds lines, not
//! bytes. All records of a request are durable before the answer. When some could be stored and others not the sender is
//! told to send all of it again; the records carry the delivery's name, and templates takes each once.
//!
//! OTLP is answered as it wants: 200 with `partial_success` where records were rejected, refusals as `google.rpc.Status`, 503 for what
//! may be sent again, 429 for what came too fast. Loki gets 204, and refusals as everybody.
//!
//! `X-Scope-OrgID`, Loki's header, names the tenant. It is believed: only a token keeps strangers out of other tenants.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::future::try_join_all;
use sha2::{Digest as _, Sha256};
use stream::{Ingress, IngressError, LogError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::auth::Guard;
use super::body;
use super::flow::{Dispatcher, Peer};
use super::problem::Refusal;
use super::settings::{EndpointSettings, SMALLEST_SHARE, WebhookSettings};
use crate::logs::{Collected, Collector, Fault, Form, LogIntakeSettings, loki, otlp, packed, records};

/// Tenant of requests that name none.
const TENANT: &str = "default";
const TENANT_HEADER: &str = "x-scope-orgid";

/// A protocol for log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Otlp,
    Loki,
}

/// All of them.
pub const PROTOCOLS: &[Protocol] = &[Protocol::Otlp, Protocol::Loki];

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Otlp => "otlp",
            Protocol::Loki => "loki",
        }
    }

    /// Who may come in.
    pub fn settings(self, settings: &WebhookSettings) -> &EndpointSettings {
        match self {
            Protocol::Otlp => &settings.otlp,
            Protocol::Loki => &settings.loki,
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Protocol::Otlp => "/v1/logs",
            Protocol::Loki => "/loki/api/v1/push",
        }
    }
}

/// One endpoint.
pub struct LogEndpoint {
    pub protocol: Protocol,
    pub guard: Guard,
    pub dispatcher: Arc<Dispatcher>,
    pub ingress: Ingress,
    pub settings: LogIntakeSettings,
}

/// What was taken.
pub struct Taken {
    pub form: Form,
    /// Records that could not be, and why the first one was not.
    pub rejected: u64,
    pub message: String,
}

/// Takes or refuses one request.
pub async fn push(State(endpoint): State<Arc<LogEndpoint>>, request: Request) -> Response {
    let sender = endpoint.protocol.name();
    let peer = request.extensions().get().map(|Peer(address)| *address);
    let form = form_of(request.headers());
    let response = match endpoint.take(request, peer).await {
        Ok(taken) => endpoint.accepted(&taken),
        Err(refusal) => {
            metrics::counter!("aegis_webhook_refused_total", "sender" => sender, "reason" => refusal.reason)
                .increment(1);
            if refusal.status.is_client_error() && refusal.status != StatusCode::UNAUTHORIZED {
                let place = refusal.place.as_deref().unwrap_or_default();
                let (status, detail) = (refusal.status.as_u16(), &refusal.detail);
                tracing::warn!(sender, ?peer, status, place, detail, "log lines refused");
            }
            endpoint.refused(form.unwrap_or(Form::Json), refusal)
        }
    };
    let status = response.status().as_u16().to_string();
    metrics::counter!("aegis_webhook_requests_total", "sender" => sender, "status" => status).increment(1);
    response
}

impl LogEndpoint {
    async fn take(&self, request: Request, peer: Option<SocketAddr>) -> Result<Taken, Refusal> {
        let dispatcher = &self.dispatcher;
        let deadline = Instant::now() + dispatcher.request_timeout;
        let (head, body) = request.into_parts();
        let admitted = dispatcher.admit(
            self.protocol.name(),
            StatusCode::TOO_MANY_REQUESTS,
            &self.guard,
            &head,
            &body,
            peer,
        );
        let (_, _memory) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                if !head.headers.contains_key(EXPECT) {
                    body::discard(body, deadline).await;
                }
                return Err(refusal);
            }
        };
        let raw = body::read(body, dispatcher.max_body_bytes, deadline).await?;
        metrics::counter!("aegis_webhook_body_bytes_total", "sender" => self.protocol.name())
            .increment(raw.len() as u64);
        let form = form_of(&head.headers)?;
        let tenant = tenant_of(&head.headers)?;
        let (content, _more_memory) = self.unpack(form, &head.headers, &raw)?;
        drop(raw);
        self.store(form, &tenant, content, deadline).await
    }

    /// Takes the lines of one body, unpacked, in the name of `tenant`. They are durable when it returns.
    pub async fn store(&self, form: Form, tenant: &str, content: Bytes, deadline: Instant) -> Result<Taken, Refusal> {
        let collected = self.read(form, tenant, &content).map_err(refusal_of)?;
        let delivery = collected.timed.then(|| self.delivery(tenant, &content));
        drop(content);
        metrics::counter!("aegis_log_lines_total", "sender" => self.protocol.name()).increment(collected.lines as u64);
        metrics::counter!("aegis_log_lines_rejected_total", "sender" => self.protocol.name())
            .increment(collected.rejected);
        self.append(&collected, delivery.as_deref(), deadline).await?;
        Ok(Taken {
            form,
            rejected: collected.rejected,
            message: collected.first_rejection.unwrap_or_default(),
        })
    }

    /// The body as its form is defined on, and the memory that it takes.
    fn unpack(
        &self,
        form: Form,
        headers: &HeaderMap,
        raw: &Bytes,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
        let most = self.dispatcher.max_body_bytes;
        let encoding = headers.get(CONTENT_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
        let encoding = encoding.to_ascii_lowercase();
        // Loki's protobuf bodies are snappy blocks whether they say so or not.
        let snappy = self.protocol == Protocol::Loki && form == Form::Protobuf;
        match encoding.as_slice() {
            b"" | b"identity" | b"snappy" if snappy => {
                let length = packed::snappy_length(raw).map_err(refusal_of)?;
                if length > most {
                    return Err(refusal_of(Fault::too_large(format!(
                        "the body is over {most} bytes when unpacked"
                    ))));
                }
                let memory = self.dispatcher.share(length)?;
                let content = packed::unsnap(raw, most).map_err(refusal_of)?;
                Ok((content, Some(memory)))
            }
            b"" | b"identity" => Ok((raw.clone(), None)),
            b"gzip" if !snappy => {
                let (content, memory) = self.gunzip(raw)?;
                Ok((content, Some(memory)))
            }
            other => {
                let detail = format!("content encoding {:?} is not supported", String::from_utf8_lossy(other));
                let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail);
                let takes = if snappy { "snappy" } else { "gzip, or none" };
                Err(refusal.place("header content-encoding").remedy(format!("send {takes}")))
            }
        }
    }

    /// Unpacks within `max_body_bytes`. Until its size is known it counts as so large.
    pub fn gunzip(&self, packed: &Bytes) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
        let most = self.dispatcher.max_body_bytes;
        let mut memory = self.dispatcher.share(most)?;
        let content = packed::gunzip(packed, most).map_err(refusal_of)?;
        drop(memory.split(memory.num_permits().saturating_sub(content.len().max(SMALLEST_SHARE))));
        Ok((content, memory))
    }

    fn read(&self, form: Form, tenant: &str, content: &[u8]) -> Result<Collected, Fault> {
        let redaction = &self.dispatcher.redaction;
        let hides = |name: &str| redaction.hides(name);
        let mut collector = Collector::new(&self.settings, tenant, &hides);
        match self.protocol {
            Protocol::Otlp => otlp::read(form, content, &mut collector)?,
            Protocol::Loki => loki::read(form, content, &mut collector)?,
        }
        Ok(collector.finish())
    }

    /// Equal for the same bytes of the same tenant, however they were packed and whichever door they came by.
    fn delivery(&self, tenant: &str, content: &[u8]) -> String {
        let mut hash = Sha256::new();
        for part in [self.protocol.name().as_bytes(), &[0], tenant.as_bytes(), &[0], content] {
            hash.update(part);
        }
        hash.finalize()
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// Everything is durable, or the sender is told to send again.
    async fn append(&self, collected: &Collected, delivery: Option<&str>, deadline: Instant) -> Result<(), Refusal> {
        let sender = self.protocol.name();
        let now = self.dispatcher.clock.now();
        let started = Instant::now();
        let appends = records(&collected.batches, sender, delivery, now);
        let appends = appends.into_iter().map(|record| self.ingress.append(b"", record));
        let appended = timeout_at(deadline, try_join_all(appends)).await;
        metrics::histogram!("aegis_webhook_append_seconds", "sender" => sender).record(started.elapsed().as_secs_f64());
        match appended {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(IngressError::Busy { retry_after_s })) => {
                Err(Refusal::later("busy", "the pipeline is behind", retry_after_s))
            }
            Ok(Err(IngressError::Log(LogError::TooLarge { limit, .. }))) => Err(body::too_large(limit)),
            Ok(Err(IngressError::Log(error))) => {
                tracing::error!(sender, %error, "log lines not stored");
                Err(Refusal::later("log", "the lines could not be stored", 5))
            }
            Err(_) => {
                tracing::error!(sender, "log lines not stored in time");
                Err(Refusal::later("slow-log", "the lines could not be stored in time", 5))
            }
        }
    }

    fn accepted(&self, taken: &Taken) -> Response {
        match self.protocol {
            Protocol::Loki => StatusCode::NO_CONTENT.into_response(),
            Protocol::Otlp => {
                let body = otlp::answer(taken.form, taken.rejected, &taken.message);
                (StatusCode::OK, [(CONTENT_TYPE, media_type(taken.form))], body).into_response()
            }
        }
    }

    fn refused(&self, form: Form, refusal: Refusal) -> Response {
        if self.protocol == Protocol::Loki {
            return refusal.into_response();
        }
        let code = match refusal.status {
            StatusCode::UNAUTHORIZED => 16,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => 8,
            _ => 3,
        };
        let message = refusal.sentence();
        let (status, retry) = (refusal.status, refusal.retry_after_s);
        let plain = refusal.into_response();
        let mut response = (status, otlp::status(form, code, &message)).into_response();
        let headers = response.headers_mut();
        for (name, value) in plain.headers() {
            if *name != CONTENT_TYPE && *name != http::header::CONTENT_LENGTH {
                headers.insert(name.clone(), value.clone());
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type(form)));
        if let Some(seconds) = retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn media_type(form: Form) -> &'static str {
    match form {
        Form::Protobuf => "application/x-protobuf",
        Form::Json => "application/json",
    }
}

fn form_of(headers: &HeaderMap) -> Result<Form, Refusal> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match value.to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(Form::Protobuf),
        "application/json" => Ok(Form::Json),
        other => {
            let detail = format!("content type `{other}` is not one of log lines");
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-format", detail);
            Err(refusal
                .place("header content-type")
                .remedy("send `application/x-protobuf` or `application/json`"))
        }
    }
}

/// Whose lines they are, by the header of Loki.
pub fn tenant_of(headers: &HeaderMap) -> Result<String, Refusal> {
    let Some(value) = headers.get(TENANT_HEADER) else {
        return Ok(TENANT.to_owned());
    };
    let named = value.to_str().ok().filter(|name| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=64).contains(&name.len()) && name.bytes().all(plain)
    });
    named.map(str::to_owned).ok_or_else(|| {
        Refusal::bad("bad-tenant", "X-Scope-OrgID names no tenant")
            .place("header x-scope-orgid")
            .remedy("send 1 to 64 letters, digits, `-`, `_` or `.`")
    })
}

fn refusal_of(fault: Fault) -> Refusal {
    if fault.too_large {
        let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", fault.detail);
        return refusal
            .remedy("send fewer lines in one request, or raise the limits in [dispatcher] and [dispatcher.logs]");
    }
    let refusal = Refusal::bad(fault.reason, fault.detail);
    match fault.place.as_str() {
        "" => refusal,
        place => refusal.place(place),
    }
}
