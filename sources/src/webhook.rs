//! The dispatcher: takes webhooks and stores their raw bytes on `events.raw`, and log lines, which it stores on `logs`.
//!
//! Guarantees: a 2xx is sent only after the bytes are durable; what is refused is said with field, place and remedy
//! (`application/problem+json`, or as the sender is used to); credentials and configured fields never reach the log. On overload, and when the
//! log fails, the answer is 503 with `Retry-After`, never 429 or 408; who alone comes too fast gets what makes it slow down. After a restart nothing is remembered and nothing
//! needs to be: a repeated delivery is stored again, and the dedupe stage recognises it by content.
//!
//! It does not decode alerts (that is `operators::normalize`), keeps no cache of deliveries, and speaks plain
//! HTTP/1.1: TLS is a reverse proxy's business. The steps of a request are in `flow.rs`, the senders in `senders.rs`, the doors for
//! log lines in `logs.rs`.

mod alertmanager;
mod auth;
mod body;
mod events;
mod fetched;
mod flow;
mod form;
mod github;
mod grafana;
mod integrations;
mod json;
mod kubernetes;
mod logs;
mod pagerduty;
mod problem;
mod rate;
pub(crate) mod redact;
mod senders;
mod server;
mod settings;
mod shape;
mod signature;
pub mod slack;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::OriginalUri;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::{MethodFilter, MethodRouter, get};
use axum::{Json, Router};
use stream::time::{Clock, WallClock};
use stream::{Ingress, Source};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use auth::Guard;
use flow::{Dispatcher, Endpoint};
use integrations::Integrations;
use json::AnyJson;
use logs::{LogEndpoint, PROTOCOLS};
use problem::Refusal;
use redact::Redaction;
use senders::{SENDERS, Sender};

pub use fetched::{Fetched, NotTaken, Taken};
pub use integrations::{Integration, PagerdutySettings};
pub use settings::{EndpointSettings, GithubSettings, GrafanaSettings, WebhookSettings};

/// Added to the request timeout when stopping: the time to write an answer.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Why the dispatcher cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error("webhook settings cannot be used: {}", .0.join("; "))]
    Settings(Vec<String>),
    #[error(
        "cannot listen on {address}: {cause}. Is another program (another aegis?) using the port? Stop it, or set another `listen`"
    )]
    Listen { address: SocketAddr, cause: std::io::Error },
}

/// The dispatcher as a source: bound, not yet serving.
pub struct WebhookSource {
    settings: WebhookSettings,
    listener: TcpListener,
    address: SocketAddr,
    clock: Arc<dyn Clock>,
    logs: Option<Ingress>,
    answers: Option<Arc<dyn slack::Answers>>,
}

impl WebhookSource {
    /// Takes the port. Connections wait until [`Source::run`].
    pub async fn bind(settings: WebhookSettings) -> Result<Self, WebhookError> {
        let faults = settings.faults();
        if !faults.is_empty() {
            return Err(WebhookError::Settings(faults));
        }
        let listen_error = |cause| WebhookError::Listen {
            address: settings.listen,
            cause,
        };
        let listener = TcpListener::bind(settings.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        Ok(WebhookSource {
            settings,
            listener,
            address,
            clock: Arc::new(WallClock),
            logs: None,
            answers: None,
        })
    }

    /// Reads receive times from `clock`.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        WebhookSource { clock, ..self }
    }

    /// Takes log lines as well; they go to `logs`. Without it there is no door for them.
    pub fn with_logs(self, logs: Ingress) -> Self {
        WebhookSource {
            logs: Some(logs),
            ..self
        }
    }

    /// Gives the orders that clicks on Slack mean.
    pub fn with_answers(self, answers: Arc<dyn slack::Answers>) -> Self {
        WebhookSource {
            answers: Some(answers),
            ..self
        }
    }

    /// Where it listens; tells the port when `listen` asks for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

#[async_trait]
impl Source for WebhookSource {
    fn name(&self) -> &str {
        "webhook"
    }

    async fn run(self: Box<Self>, ingress: Ingress, stop: CancellationToken) -> Result<(), String> {
        let slack = slack::routes(&self.settings.slack, self.answers, self.clock.clone());
        let router = router(&self.settings, ingress, self.logs, self.clock).map_err(|error| error.to_string())?;
        let router = slack.merge(router);
        let limits = server::Limits {
            connections: self.settings.max_connections,
            per_address: self.settings.max_connections_per_address,
            headers: self.settings.max_headers,
            head: Duration::from_secs(self.settings.header_timeout_s),
            grace: self.settings.request_timeout() + ANSWER_TIME,
        };
        tracing::info!(address = %self.address, "dispatcher listens");
        server::serve(self.listener, router, limits, stop).await;
        Ok(())
    }
}

/// The dispatcher's routes over `ingress`, and those for log lines over `logs`, without the limits on connections and heads (those are the server's).
pub fn router(
    settings: &WebhookSettings,
    ingress: Ingress,
    logs: Option<Ingress>,
    clock: Arc<dyn Clock>,
) -> Result<Router, WebhookError> {
    let faults = settings.faults();
    if !faults.is_empty() {
        return Err(WebhookError::Settings(faults));
    }
    let dispatcher = Arc::new(Dispatcher::new(settings, ingress, clock)?);
    let mut routes = Router::new().route("/healthz", get(async || Json(serde_json::json!({"status": "ok"}))));
    for registered in SENDERS {
        let sender = registered.sender;
        let endpoint = Arc::new(Endpoint {
            sender,
            stored_as: sender.name().to_owned(),
            guard: Guard::new(&(registered.keys)(settings)),
            integrations: sender.integrations(settings).map(Integrations::new),
            redaction: redaction_of(settings, sender.credentials())?,
            dispatcher: Arc::clone(&dispatcher),
        });
        let mut methods = MethodRouter::new().on(sender.methods(), flow::deliver);
        if let Some(answer) = sender.handshake() {
            methods = methods.on(MethodFilter::OPTIONS, async move |headers: HeaderMap| answer(&headers));
        }
        routes = routes.route(sender.path(), methods.with_state(endpoint));
    }
    for (name, endpoint) in &settings.json {
        let endpoint = Arc::new(Endpoint {
            sender: &AnyJson,
            stored_as: AnyJson::stored_as(name),
            guard: Guard::new(&endpoint.keys()),
            integrations: None,
            redaction: redaction_of(settings, &[])?,
            dispatcher: Arc::clone(&dispatcher),
        });
        let methods = MethodRouter::new().on(AnyJson.methods(), flow::deliver);
        routes = routes.route(&AnyJson::path_of(name), methods.with_state(endpoint));
    }
    for (protocol, endpoint) in PROTOCOLS {
        let Some(ingress) = logs.clone() else { break };
        let endpoint = Arc::new(LogEndpoint {
            protocol: *protocol,
            guard: Guard::new(&endpoint(settings).keys()),
            dispatcher: Arc::clone(&dispatcher),
            ingress,
            settings: settings.logs.clone(),
        });
        let method = MethodRouter::new().on(MethodFilter::POST, logs::push);
        routes = routes.route(protocol.path(), method.with_state(endpoint));
    }
    Ok(routes
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::new()))
}

/// The settings' redaction, and that of `more` fields.
fn redaction_of(settings: &WebhookSettings, more: &[&str]) -> Result<Redaction, WebhookError> {
    let mut fields = settings.redact_fields.clone();
    fields.extend(more.iter().map(|field| (*field).to_owned()));
    let redaction = Redaction::new(&settings.redact_headers, &fields);
    redaction.map_err(|fault| WebhookError::Settings(vec![fault]))
}

async fn unknown_path(OriginalUri(uri): OriginalUri) -> Refusal {
    let mut known: Vec<&str> = SENDERS.iter().map(|registered| registered.sender.path()).collect();
    known.push(AnyJson.path());
    known.extend(PROTOCOLS.iter().map(|(protocol, _)| protocol.path()));
    Refusal::new(
        StatusCode::NOT_FOUND,
        "unknown-path",
        format!("there is no endpoint {}", uri.path()),
    )
    .remedy(format!("send to one of {}", known.join(", ")))
}

async fn wrong_method(method: Method) -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        format!("{method} is not a method of this endpoint"),
    )
    .remedy("use a method that the Allow header names")
}
