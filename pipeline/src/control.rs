//! The daemon's private door: HTTP over a Unix socket in the data folder, mode 0600. Commands of the same user use it to
//! hand files to the process that owns the folder, and to ask about its log. It is never reachable over the network.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::extract::{DefaultBodyLimit, Path as UrlPath, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use sinks::archive::Flush;
use sources::logs::LogIntakeSettings;
use stream::{Clock, Ingress, IngressError, Log};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::audit;
use crate::cli::{Exit, exit};
use crate::compliance::{ComplianceDesk, ControlList};
use crate::generations::Layout;
use crate::ingest::{LogSender, append, append_lines};
use crate::ledger::{self, LedgerReport};
use crate::letters;
use crate::orders::{self, LogOrders};
use crate::silences::{self, SilenceDesk};
use crate::similar::{self, Similar};
use crate::standings::{Standing, standings};

/// Largest file that may be handed over in one request.
const MAX_FILE_BYTES: usize = 1 << 30;

/// How long somebody who asks for log lines waits for the newest: Progress comes every second.
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

/// What the door needs from the daemon.
#[derive(Clone)]
pub struct Door {
    pub ingress: Ingress,
    /// The same for `logs`.
    pub logs: Ingress,
    pub intake: LogIntakeSettings,
    /// Where this process writes the archive.
    pub archive: Option<Arc<Flush>>,
    pub clock: Arc<dyn Clock>,
    pub health: stream::health::Health,
    pub log: Arc<dyn Log>,
    pub orders: LogOrders,
    pub compliance: ComplianceDesk,
    pub silences: Arc<SilenceDesk>,
    pub layout: Layout,
    /// The archive's folder, where there is one.
    pub archive_dir: Option<PathBuf>,
    pub similar: Option<Similar>,
}

/// Answer to an ingest request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub bodies: u64,
    #[serde(default)]
    pub lines: u64,
}

/// Answer to a status request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    pub version: String,
    /// Records that wait anywhere between the log and the stores.
    pub lag: u64,
    pub troubles: std::collections::BTreeMap<String, String>,
    /// What works less well than it should, and makes nothing else worse.
    #[serde(default)]
    pub degraded: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct IngestQuery {
    #[serde(default)]
    from: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    service: String,
}

/// Where the socket of a data folder is.
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("aegis.sock")
}

/// Serves the door until `stop`. A stale socket of a dead process is replaced (the log's lock already proved that no
/// other process owns the folder).
pub async fn serve(data_dir: &Path, door: Door, stop: CancellationToken) -> anyhow::Result<()> {
    let path = socket_path(data_dir);
    let _ = std::fs::remove_file(&path);
    let listener =
        UnixListener::bind(&path).with_context(|| format!("cannot bind control socket {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot restrict {}", path.display()))?;
    let letters = letters::routes(door.log.clone(), door.clock.clone());
    let orders = orders::routes(door.orders.clone());
    let silences = silences::routes(door.silences.clone());
    let similar = similar::routes(door.similar.clone());
    let app = Router::new()
        .route("/ingest", post(ingest))
        .route("/status", get(status))
        .route("/archive/flush", post(flush))
        .route("/audit/conservation", get(conservation))
        .route("/ledger", get(verify_ledger))
        .route("/sinks", get(sinks))
        .route("/compliance", get(controls))
        .route("/compliance/{control}", get(evidence))
        .with_state(door)
        .merge(letters)
        .merge(orders)
        .merge(silences)
        .merge(similar)
        .layer(DefaultBodyLimit::max(MAX_FILE_BYTES));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await?;
    let _ = std::fs::remove_file(&path);
    Ok(())
}

async fn ingest(
    State(door): State<Door>,
    Query(query): Query<IngestQuery>,
    body: Bytes,
) -> Result<Json<Accepted>, (StatusCode, String)> {
    let mut accepted = Accepted::default();
    let now = door.clock.now();
    let code = |error: &IngressError| match error {
        IngressError::Busy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        IngressError::Log(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if let Some(from) = LogSender::lines(&query.from, &query.service) {
        let read = from.read(&body, &door.intake);
        let read = read.map_err(|problem| (StatusCode::UNPROCESSABLE_ENTITY, problem))?;
        let taken = append_lines(&door.logs, &read, now).await;
        taken.map_err(|error| (code(&error), format!("not all lines were taken: {error}")))?;
        accepted.lines = read.lines();
        return Ok(Json(accepted));
    }
    for event in sources::replay::read(&body, &query.from, &query.event, now.0) {
        append(&door.ingress, &event, now).await.map_err(|error| {
            (
                code(&error),
                format!("{} bodies were taken, then: {error}", accepted.bodies),
            )
        })?;
        accepted.bodies += 1;
    }
    Ok(Json(accepted))
}

async fn status(State(door): State<Door>) -> Json<DaemonStatus> {
    Json(DaemonStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        lag: door.health.partitions().values().map(|health| health.lag).sum(),
        troubles: door.health.troubles(),
        degraded: door.health.degradations(),
    })
}

/// Answers when what waited for the archive is written, or after [`FLUSH_PATIENCE`].
async fn flush(State(door): State<Door>) -> Json<bool> {
    let Some(archive) = door.archive else {
        return Json(false);
    };
    Json(archive.ask(FLUSH_PATIENCE).await)
}

async fn conservation(State(door): State<Door>) -> Result<Json<audit::Report>, (StatusCode, String)> {
    let audited = audit::conservation(&door.log).await;
    audited.map(Json).map_err(|error| {
        let code = match exit::of(&error) {
            Exit::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (code, format!("{error:#}"))
    })
}

async fn verify_ledger(State(door): State<Door>) -> Result<Json<LedgerReport>, (StatusCode, String)> {
    let verified = ledger::verify(&door.log).await;
    verified
        .map(Json)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")))
}

async fn controls(State(door): State<Door>) -> Result<Json<ControlList>, (StatusCode, String)> {
    let list = door.compliance.list().await;
    list.map(Json)
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}")))
}

/// The pack as a text: the bytes stay as they are.
async fn evidence(
    State(door): State<Door>,
    UrlPath(control): UrlPath<String>,
) -> Result<Json<String>, (StatusCode, String)> {
    match door.compliance.evidence(&control).await {
        Ok(Some(pack)) => Ok(Json(String::from_utf8_lossy(&pack).into_owned())),
        Ok(None) => Err((StatusCode::NOT_FOUND, format!("no policy serves a control {control:?}"))),
        Err(error) => Err((StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}"))),
    }
}

async fn sinks(State(door): State<Door>) -> Result<Json<Vec<Standing>>, (StatusCode, String)> {
    let stand = standings(&door.log, &door.layout, &door.orders.store, door.archive_dir.as_deref()).await;
    stand
        .map(Json)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")))
}

/// A connection to a running daemon.
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// `None` when no daemon answers at the folder's socket.
    pub async fn connect(data_dir: &Path) -> Option<Self> {
        let path = socket_path(data_dir);
        UnixStream::connect(&path).await.ok()?;
        Some(Client { path })
    }

    /// Hands a file over; returns once all of it is durable in the daemon's log.
    pub async fn ingest(&self, from: &str, event: &str, service: &str, file: Bytes) -> anyhow::Result<Accepted> {
        let service: String = service.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.ask(
            "POST",
            &format!("/ingest?from={from}&event={event}&service={service}"),
            file,
        )
        .await
    }

    pub async fn status(&self) -> anyhow::Result<DaemonStatus> {
        self.ask("GET", "/status", Bytes::new()).await
    }

    /// Has the daemon write what waits for the archive; `false`: it does not write one, or could not at once.
    pub async fn flush(&self) -> anyhow::Result<bool> {
        self.ask("POST", "/archive/flush", Bytes::new()).await
    }

    /// An audit of its log, between two of its commits.
    pub async fn conservation(&self) -> anyhow::Result<audit::Report> {
        self.ask("GET", "/audit/conservation", Bytes::new()).await
    }

    /// Where its sinks stand.
    pub async fn sinks(&self) -> anyhow::Result<Vec<Standing>> {
        self.ask("GET", "/sinks", Bytes::new()).await
    }

    /// The controls of its compliance.
    pub async fn controls(&self) -> anyhow::Result<ControlList> {
        self.ask("GET", "/compliance", Bytes::new()).await
    }

    /// The evidence pack of a control.
    pub async fn evidence(&self, control: &str) -> anyhow::Result<String> {
        let control: String = control.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.ask("GET", &format!("/compliance/{control}"), Bytes::new()).await
    }

    /// A verification of its ledger.
    pub async fn ledger(&self) -> anyhow::Result<LedgerReport> {
        self.ask("GET", "/ledger", Bytes::new()).await
    }

    /// Asks with a JSON body.
    pub async fn post<T: serde::de::DeserializeOwned>(&self, target: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.ask("POST", target, serde_json::to_vec(body)?.into()).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, method: &str, target: &str, body: Bytes) -> anyhow::Result<T> {
        let stream = UnixStream::connect(&self.path).await.context("the daemon went away")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = http::Request::builder()
            .method(method)
            .uri(target)
            .header(http::header::HOST, "aegis")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let answer = tokio::time::timeout(Duration::from_secs(600), sender.send_request(request))
            .await
            .context("the daemon did not answer within 10 minutes")??;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        connection.abort();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let problem = format!("the daemon cannot now: {}", String::from_utf8_lossy(&bytes));
            return Err(Exit::Unavailable.because(problem));
        }
        if status == StatusCode::NOT_FOUND {
            return Err(Exit::NotFound.because(String::from_utf8_lossy(&bytes).into_owned()));
        }
        if !status.is_success() {
            bail!("the daemon refused ({status}): {}", String::from_utf8_lossy(&bytes));
        }
        Ok(serde_json::from_slice(&bytes)?)
    }
}
