//! Streamable HTTP: `POST`, `GET` and `DELETE` on `/mcp`.
//!
//! In this order: the token (401), the pace of its holder (429), requests under way (503), the session's owner (404) or room for a new session
//! (503), then the SDK: Host and Origin (403), the size of the body (413), the protocol. A request whose body or answer does not begin in time gets
//! 408. A session belongs to whoever opened it; every request carries its token all the same.

use std::collections::HashMap;
use std::future::IntoFuture as _;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Router, middleware};
use gateway::{Caller, GatewaySettings, Tokens};
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use stream::BoxFuture;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::desk::Desk;
use crate::handler::{Aegis, named};
use crate::settings::McpSettings;
use crate::socket;

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
/// From this version on there are no sessions.
const WITHOUT_SESSIONS: &str = "2026-07-28";
/// Requests under way for each call that may be: most wait for their turn, and streams of sessions are not among them.
const REQUESTS_PER_CALL: usize = 8;
/// What a body may take beside the call itself.
const READING: Duration = Duration::from_secs(10);
/// How long requests in flight may take once told to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    #[error("mcp settings cannot be used: {}", .0.join("; "))]
    Settings(Vec<String>),
    #[error(
        "cannot listen on {address} for MCP: {cause}. Is another program (another aegis?) using the port? Stop it, or set another mcp.listen"
    )]
    Listen { address: SocketAddr, cause: io::Error },
    #[error("cannot make the socket {path} for MCP over stdio: {cause}")]
    Socket { path: String, cause: io::Error },
    #[error("serving MCP on {address}: {cause}")]
    Serve { address: SocketAddr, cause: io::Error },
}

/// The server, bound and not yet serving.
pub struct McpServer {
    listener: TcpListener,
    address: SocketAddr,
    socket: UnixListener,
    router: Router,
    aegis: Aegis,
    settings: McpSettings,
    /// Ends sessions and their streams.
    closing: CancellationToken,
}

impl McpServer {
    /// Takes the port, and makes the socket for stdio in `data_dir`, which the caller owns. Tokens are those of `gateway`.
    ///
    /// # Errors
    /// The settings have faults, the port is taken, the socket cannot be made.
    pub async fn bind(
        settings: McpSettings,
        gateway: &GatewaySettings,
        desk: Arc<Desk>,
        data_dir: &Path,
    ) -> Result<Self, McpError> {
        let tokens = !gateway.read_tokens.is_empty() || !gateway.tokens.is_empty();
        let faults = settings.faults(tokens);
        if !faults.is_empty() {
            return Err(McpError::Settings(faults));
        }
        let aegis = Aegis::new(desk);
        let closing = CancellationToken::new();
        let router = router(&settings, Tokens::new(gateway), aegis.clone(), closing.clone());
        let listen = |cause| McpError::Listen {
            address: settings.listen,
            cause,
        };
        let listener = TcpListener::bind(settings.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let path = data_dir.join(socket::SOCKET);
        let socket = socket::bind(&path).map_err(|cause| McpError::Socket {
            path: path.display().to_string(),
            cause,
        })?;
        Ok(McpServer {
            listener,
            address,
            socket,
            router,
            aegis,
            settings,
            closing,
        })
    }

    /// Where it listens; tells the port when `listen` asks for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// The listener broke.
    pub fn serve(self, stop: CancellationToken) -> BoxFuture<'static, Result<(), McpError>> {
        Box::pin(self.serve_until(stop))
    }

    async fn serve_until(self, stop: CancellationToken) -> Result<(), McpError> {
        let McpServer {
            listener,
            address,
            socket,
            router,
            aegis,
            settings,
            closing,
        } = self;
        tracing::info!(%address, "mcp listens");
        let pipes = socket::serve(
            socket,
            aegis,
            settings.max_body.as_usize(),
            settings.max_sessions,
            stop.clone(),
        );
        let pipes = tokio::spawn(pipes);
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let cut = async {
            stop.cancelled().await;
            // Streams would hold the door open for ever.
            closing.cancel();
            tokio::time::sleep(GRACE).await;
        };
        let served = tokio::select! {
            served = serving.into_future() => served.map_err(|cause| McpError::Serve { address, cause }),
            () = cut => Ok(()),
        };
        closing.cancel();
        pipes.abort();
        served
    }
}

/// What stands before the SDK.
#[derive(Clone)]
struct Door {
    tokens: Tokens,
    desk: Arc<Desk>,
    requests: Arc<Semaphore>,
    manager: Arc<LocalSessionManager>,
    /// Session → who opened it.
    owners: Arc<Mutex<HashMap<String, String>>>,
    /// Sessions that are being opened.
    opening: Arc<AtomicUsize>,
    max_sessions: usize,
    in_time: Duration,
}

/// The routes, for a port or for a test. Sessions end with `closing`.
pub fn router(settings: &McpSettings, tokens: Tokens, aegis: Aegis, closing: CancellationToken) -> Router {
    let mut sessions = SessionConfig::default();
    sessions.keep_alive = Some(settings.session_idle.get());
    let mut manager = LocalSessionManager::default();
    manager.session_config = sessions;
    let manager = Arc::new(manager);
    let config = StreamableHttpServerConfig::default()
        .with_allowed_hosts(&settings.allowed_hosts)
        .with_allowed_origins(&settings.allowed_origins)
        .enforce_origin_validation()
        .with_json_response(true)
        .with_max_request_body_bytes(settings.max_body.as_usize())
        .with_cancellation_token(closing);
    let door = Door {
        tokens,
        desk: aegis.desk().clone(),
        requests: Arc::new(Semaphore::new(REQUESTS_PER_CALL * settings.max_calls as usize)),
        manager: manager.clone(),
        owners: Arc::default(),
        opening: Arc::default(),
        max_sessions: settings.max_sessions as usize,
        in_time: settings.call_timeout.get().saturating_add(READING),
    };
    let service = StreamableHttpService::new(move || Ok(aegis.clone()), manager, config);
    Router::new()
        .route_service("/mcp", service)
        .layer(middleware::from_fn_with_state(door, admit))
        .fallback(async || problem(StatusCode::NOT_FOUND, "the MCP endpoint is /mcp"))
        .layer(CatchPanicLayer::new())
}

async fn admit(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let Some(caller) = door.tokens.caller(request.headers()) else {
        tracing::warn!("MCP client without a valid token refused");
        metrics::counter!("aegis_mcp_refused_total", "reason" => "token").increment(1);
        return problem(StatusCode::UNAUTHORIZED, "a bearer token of [gateway] is needed");
    };
    let owner = named(&caller);
    if let Err(wait) = door.desk.limits.admit(&owner, Instant::now()) {
        metrics::counter!("aegis_mcp_refused_total", "reason" => "rate").increment(1);
        let mut response = problem(
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests: slow down (mcp.requests_per_minute)",
        );
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        return response;
    }
    let Ok(_under_way) = door.requests.clone().try_acquire_owned() else {
        return busy("too many requests are under way: try again");
    };
    let session = text(request.headers(), SESSION);
    let place = match &session {
        Some(session) if !door.owned(session, &owner) => {
            return problem(StatusCode::NOT_FOUND, "there is no such session: initialize anew");
        }
        Some(_) => None,
        None if request.method() == Method::POST && may_open_a_session(request.headers()) => match door.place().await {
            Some(place) => Some(place),
            None => {
                return busy(
                    "there are as many sessions as may be (mcp.max_sessions): try again, or end one with DELETE",
                );
            }
        },
        None => None,
    };
    let method = request.method().clone();
    request.extensions_mut().insert::<Caller>(caller);
    let Ok(response) = tokio::time::timeout(door.in_time, next.run(request)).await else {
        return problem(StatusCode::REQUEST_TIMEOUT, "the request took too long");
    };
    if session.is_none()
        && let Some(opened) = text(response.headers(), SESSION)
    {
        door.own(opened, owner).await;
    }
    if method == Method::DELETE
        && let Some(session) = session
    {
        door.owners().remove(&session);
    }
    drop(place);
    response
}

/// A session that is being opened takes a place from then on.
struct Opening(Arc<AtomicUsize>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Door {
    fn owners(&self) -> std::sync::MutexGuard<'_, HashMap<String, String>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owned(&self, session: &str, by: &str) -> bool {
        self.owners().get(session).is_some_and(|owner| owner == by)
    }

    /// Room for one more session. Counted before it is looked, so that of two who come at once one sees the other.
    async fn place(&self) -> Option<Opening> {
        let opening = self.opening.fetch_add(1, Ordering::SeqCst) + 1;
        let place = Opening(self.opening.clone());
        let open = self.manager.sessions.read().await.len();
        if open + opening > self.max_sessions {
            metrics::counter!("aegis_mcp_refused_total", "reason" => "sessions").increment(1);
            tracing::warn!(open, "no room for another MCP session (mcp.max_sessions)");
            return None;
        }
        Some(place)
    }

    /// Notes who opened a session, and forgets those that have ended.
    async fn own(&self, session: String, owner: String) {
        let live = self.manager.sessions.read().await;
        let mut owners = self.owners();
        owners.retain(|known, _| live.keys().any(|live| **live == *known));
        owners.insert(session, owner);
    }
}

/// A request of an older version without a session can only be the one that opens it, or a mistake.
fn may_open_a_session(headers: &HeaderMap) -> bool {
    text(headers, VERSION).is_none_or(|version| version.as_str() < WITHOUT_SESSIONS)
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn busy(words: &str) -> Response {
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, words);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// Errors before the protocol begins, as the gateway's are (RFC 9457).
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("error");
    let body =
        serde_json::json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
