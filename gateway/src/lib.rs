//! The gateway: metrics, health, readiness, and REST.
//!
//! ```text
//!   GET /metrics                  Prometheus text
//!   GET /healthz                  200 while the process runs
//!   GET /readyz                   200, or 503 with what fails and why
//!   GET /api/v1/incidents         ?status= &severity= &service= &limit= &offset=
//!   GET /api/v1/incidents/{id}    with members and events
//!   GET /api/v1/changes           ?after= &wait=: answers when something changed
//!   /api/v1/sessions              sign in, look, sign out
//!   GET /api/v1/me                who asks; /pipeline how it is; POST /sql an answer
//!   GET /api/v1/compliance        controls; /{control} records, /{control}/evidence the pack
//!   GET /api/v1/incidents/{id}/similar   past incidents like it, what they share and what fixed them
//!   GET /api/v1/similar           ?text= &limit=
//!   /api/v1/silences              look, POST one; /{id}/end ends it
//!   GET /api/v1/openapi.json      every route below /api/v1, with its role, in OpenAPI 3.1
//! ```
//!
//! It changes nothing itself: an order is a record on the log ([`Orders`]), and needs a named token with a [`Role`], or a session that one opened. Both
//! guard `/api` alone: probes and scrapers carry none, and the other paths show counts and
//! stage names, no alert. Errors are `application/problem+json`. It knows no store: whoever has one implements
//! [`IncidentReads`]. Plain HTTP/1.1; TLS and limits on strangers' connections are a reverse proxy's business.

mod api;
mod changes;
mod compliance;
mod door;
mod guard;
mod letters;
mod openapi;
mod orders;
mod pipeline;
mod problem;
mod queries;
mod readiness;
mod reads;
mod responses;
mod roles;
mod sessions;
mod settings;
mod silences;
mod similar;
mod tokens;
mod traced;

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{OriginalUri, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use metrics_exporter_prometheus::PrometheusHandle;
use stream::BoxFuture;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use guard::Guard;
use problem::Problem;
use sessions::SessionDesk;
use shared::Sessions;

pub use changes::{Changes, Woken};
pub use compliance::{ComplianceReads, ControlView};
pub use door::Door;
pub use letters::{LetterPlace, Letters};
pub use openapi::document as openapi;
pub use orders::{OrderError, Orders, Proposed, Suggestion};
pub use pipeline::{
    PipelineReads, PipelineView, PlaceView, SenderState, SinkPlaces, StageCounts, StageState, StopView,
};
pub use queries::{Queries, QueryError, QueryView, Rows};
pub use readiness::{Failing, Readiness, ReadinessBounds, Report};
pub use reads::{EventView, IncidentDetail, IncidentFilter, IncidentReads, IncidentView, Page, ReadError};
pub use responses::{LetterView, RemediationView, ResponseFilter, ResponseReads, StepView};
pub use roles::{ApiToken, Caller, Role};
pub use sessions::{CSRF_HEADER, OwnSession, SessionView};
pub use settings::{GatewaySettings, SessionSettings};
pub use silences::{SilenceBody, SilenceFilter, SilenceView, Silences, SilencesView};
pub use similar::{Fix, MatchedFeature, SimilarAnswer, SimilarIncident};
pub use tokens::Tokens;

/// How often histograms are folded when nobody scrapes. Higher: samples pile up in memory between folds.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long requests in flight may take once told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What the gateway shows.
#[derive(Clone)]
pub struct Shown {
    pub metrics: PrometheusHandle,
    pub readiness: Readiness,
    pub incidents: Arc<dyn IncidentReads>,
    pub responses: Arc<dyn ResponseReads>,
    pub orders: Arc<dyn Orders>,
    pub letters: Arc<dyn Letters>,
    pub silences: Arc<dyn Silences>,
    pub sessions: Arc<dyn Sessions>,
    /// Somebody must run it.
    pub changes: Arc<Changes>,
    pub compliance: Arc<dyn ComplianceReads>,
    pub pipeline: Arc<dyn PipelineReads>,
    pub queries: Arc<dyn Queries>,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("gateway settings cannot be used: {}", .0.join("; "))]
    Settings(Vec<String>),
    #[error(
        "cannot listen on {address}: {cause}. Is another program (another aegis?) using the port? Stop it, or set another `listen`"
    )]
    Listen { address: SocketAddr, cause: std::io::Error },
    #[error("serving on {address}: {cause}")]
    Serve { address: SocketAddr, cause: std::io::Error },
}

/// The gateway, bound and not yet serving.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    metrics: PrometheusHandle,
}

impl Gateway {
    /// Takes the port. Connections wait until [`Gateway::serve`].
    pub async fn bind(settings: GatewaySettings, shown: Shown) -> Result<Self, GatewayError> {
        let metrics = shown.metrics.clone();
        let router = router(&settings, shown)?;
        let listen_error = |cause| GatewayError::Listen {
            address: settings.listen,
            cause,
        };
        let listener = TcpListener::bind(settings.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        Ok(Gateway {
            listener,
            address,
            router,
            metrics,
        })
    }

    /// Where it listens; tells the port when `listen` asks for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then finishes the requests in flight.
    pub fn serve(self, stop: CancellationToken) -> BoxFuture<'static, Result<(), GatewayError>> {
        Box::pin(self.serve_until(stop))
    }

    async fn serve_until(self, stop: CancellationToken) -> Result<(), GatewayError> {
        let Gateway {
            listener,
            address,
            router,
            metrics,
        } = self;
        tracing::info!(%address, "gateway listens");
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let cut = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = serving.into_future() => served.map_err(|cause| GatewayError::Serve { address, cause }),
            () = cut => {
                tracing::warn!("requests still open after the grace period are cut");
                Ok(())
            }
            () = upkeep(metrics) => Ok(()),
        }
    }
}

/// The gateway's routes.
pub fn router(settings: &GatewaySettings, shown: Shown) -> Result<Router, GatewayError> {
    let metrics = shown.metrics.clone();
    let readiness = shown.readiness.clone();
    let routes = api(settings, shown)?
        .route("/metrics", get(metrics_text).with_state(metrics))
        .route("/healthz", get(async || Json(serde_json::json!({"status": "ok"}))))
        .route("/readyz", get(ready).with_state(readiness))
        .fallback(async |OriginalUri(uri): OriginalUri| {
            Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
        })
        .method_not_allowed_fallback(async |method: Method| {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} is not possible here, see /api/v1/openapi.json"),
            )
        });
    Ok(routes.layer(CatchPanicLayer::new()))
}

/// `/api/v1` alone, guarded, for another door.
pub fn api(settings: &GatewaySettings, shown: Shown) -> Result<Router, GatewayError> {
    let faults = settings.faults();
    if !faults.is_empty() {
        return Err(GatewayError::Settings(faults));
    }
    let desk = SessionDesk::new(settings, shown.sessions.clone(), shown.changes.clone());
    let guard = Guard::new(settings, desk.clone());
    let api = api::routes(&shown, desk, !settings.tokens.is_empty())
        .layer(middleware::from_fn_with_state(guard, guard::admit));
    let api = api.layer(middleware::from_fn(traced::traced));
    Ok(Router::new().nest("/api/v1", api))
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

async fn metrics_text(State(metrics): State<PrometheusHandle>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        metrics.render(),
    )
        .into_response()
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let report = readiness.check(Instant::now());
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report)).into_response()
}
