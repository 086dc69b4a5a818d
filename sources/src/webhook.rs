//! The dispatcher: takes webhooks and stores their raw bytes on `events.raw`, and log lines, which it stores on `logs`.
//!
//! Guarantees: a 2xx is sent only after the bytes are durable; what is refused is said with field, place and remedy
//! (`application/problem+json`, or as the sender is used to); credentials and configured fields never reach the log. On overload, and when the
//! log fails, the answer is 503 with `Retry-After`, never 429 or 408; who alone comes too fast gets what makes it slow down. After a restart nothing is remembered and nothing
//! needs to be: a repeated delivery is stored again, and the dedupe stage recognises it by content.
//!
//! It does not decode alerts (that is `operators::normalize`), keeps no cache of deliveries, and speaks plain
//! HTTP/1.1, and HTTP/2 for gRPC: TLS is a reverse proxy's business. The steps of a request are in `flow.rs`, the senders in `senders.rs`, the
//! doors for log lines in `logs.rs` and `grpc.rs`.

mod alertmanager;
mod auth;
mod body;
mod events;
mod fetched;
mod flow;
mod form;
mod github;
mod grafana;
mod grpc;
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
use logs::{LogEndpoint, PROTOCOLS, Protocol};
use problem::Refusal;
use redact::Redaction;
use senders::{SENDERS, Sender};
use server::Speaks;

pub use fetched::{Fetched, NotTaken, Taken};
pub use grpc::PATH as OTLP_GRPC_PATH;
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
        "cannot listen on {address}: {cause}. Is another program (another aegis?) using the port? Stop it, or set another `{setting}`"
    )]
    Listen {
        setting: &'static str,
        address: SocketAddr,
        cause: std::io::Error,
    },
}

/// The dispatcher as a source: bound, not yet serving.
pub struct WebhookSource {
    settings: WebhookSettings,
    http: Door,
    /// For log lines over gRPC.
    grpc: Option<Door>,
    clock: Arc<dyn Clock>,
    logs: Option<Ingress>,
    answers: Option<Arc<dyn slack::Answers>>,
    beside: Router,
}

/// A port that was taken.
struct Door {
    listener: TcpListener,
    address: SocketAddr,
}

impl Door {
    async fn bind(setting: &'static str, address: SocketAddr) -> Result<Self, WebhookError> {
        let failed = |cause| WebhookError::Listen {
            setting,
            address,
            cause,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Door { listener, address })
    }
}

impl WebhookSource {
    /// Takes the ports. Connections wait until [`Source::run`].
    pub async fn bind(settings: WebhookSettings) -> Result<Self, WebhookError> {
        let faults = settings.faults();
        if !faults.is_empty() {
            return Err(WebhookError::Settings(faults));
        }
        let http = Door::bind("listen", settings.listen).await?;
        let grpc = match settings.otlp_grpc_listen {
            Some(address) => Some(Door::bind("otlp_grpc_listen", address).await?),
            None => None,
        };
        Ok(WebhookSource {
            settings,
            http,
            grpc,
            clock: Arc::new(WallClock),
            logs: None,
            answers: None,
            beside: Router::new(),
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

    /// Serves further routes at the same port, which are none of its business.
    pub fn with_routes(self, beside: Router) -> Self {
        WebhookSource { beside, ..self }
    }

    /// Where it listens; tells the port when `listen` asks for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.http.address
    }

    /// Where it listens for OTLP over gRPC, if it does.
    pub fn grpc_addr(&self) -> Option<SocketAddr> {
        self.grpc.as_ref().map(|door| door.address)
    }
}

#[async_trait]
impl Source for WebhookSource {
    fn name(&self) -> &str {
        "webhook"
    }

    async fn run(self: Box<Self>, ingress: Ingress, stop: CancellationToken) -> Result<(), String> {
        let WebhookSource {
            settings,
            http,
            grpc,
            clock,
            logs,
            answers,
            beside,
        } = *self;
        let slack = slack::routes(&settings.slack, answers, clock.clone());
        let dispatcher = Dispatcher::new(&settings, ingress, clock).map_err(|error| error.to_string())?;
        let dispatcher = Arc::new(dispatcher);
        let router = routes(&settings, &dispatcher, logs.as_ref()).map_err(|error| error.to_string())?;
        let router = slack.merge(beside).merge(router);
        let limits = server::Limits {
            connections: settings.max_connections,
            per_address: settings.max_connections_per_address,
            headers: settings.max_headers,
            head: Duration::from_secs(settings.header_timeout_s),
            grace: settings.request_timeout() + ANSWER_TIME,
        };
        tracing::info!(address = %http.address, "dispatcher listens");
        let http = server::serve(http.listener, Speaks::Http1, router, limits, stop.clone());
        let grpc = async {
            let (Some(door), Some(logs)) = (grpc, &logs) else {
                return;
            };
            tracing::info!(address = %door.address, "dispatcher listens for OTLP over gRPC");
            let endpoint = log_endpoint(&settings, Protocol::Otlp, &dispatcher, logs);
            let router = grpc::routes(endpoint, settings.max_headers);
            server::serve(door.listener, Speaks::Http2, router, limits, stop).await;
        };
        tokio::join!(http, grpc);
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
    routes(settings, &dispatcher, logs.as_ref())
}

/// The routes of OTLP over gRPC over `logs`, without the limits on connections and streams. `ingress` stands for the other doors.
pub fn grpc_router(
    settings: &WebhookSettings,
    ingress: Ingress,
    logs: &Ingress,
    clock: Arc<dyn Clock>,
) -> Result<Router, WebhookError> {
    let faults = settings.faults();
    if !faults.is_empty() {
        return Err(WebhookError::Settings(faults));
    }
    let dispatcher = Arc::new(Dispatcher::new(settings, ingress, clock)?);
    let endpoint = log_endpoint(settings, Protocol::Otlp, &dispatcher, logs);
    Ok(grpc::routes(endpoint, settings.max_headers))
}

fn log_endpoint(
    settings: &WebhookSettings,
    protocol: Protocol,
    dispatcher: &Arc<Dispatcher>,
    ingress: &Ingress,
) -> LogEndpoint {
    LogEndpoint {
        protocol,
        guard: Guard::new(&protocol.settings(settings).keys()),
        dispatcher: Arc::clone(dispatcher),
        ingress: ingress.clone(),
        settings: settings.logs.clone(),
    }
}

fn routes(
    settings: &WebhookSettings,
    dispatcher: &Arc<Dispatcher>,
    logs: Option<&Ingress>,
) -> Result<Router, WebhookError> {
    let mut routes = Router::new().route("/healthz", get(async || Json(serde_json::json!({"status": "ok"}))));
    for registered in SENDERS {
        let sender = registered.sender;
        let endpoint = Arc::new(Endpoint {
            sender,
            stored_as: sender.name().to_owned(),
            guard: Guard::new(&(registered.keys)(settings)),
            integrations: sender.integrations(settings).map(Integrations::new),
            redaction: redaction_of(settings, sender.credentials())?,
            dispatcher: Arc::clone(dispatcher),
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
            dispatcher: Arc::clone(dispatcher),
        });
        let methods = MethodRouter::new().on(AnyJson.methods(), flow::deliver);
        routes = routes.route(&AnyJson::path_of(name), methods.with_state(endpoint));
    }
    for protocol in PROTOCOLS {
        let Some(ingress) = logs else { break };
        let endpoint = Arc::new(log_endpoint(settings, *protocol, dispatcher, ingress));
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
    known.extend(PROTOCOLS.iter().map(|protocol| protocol.path()));
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
