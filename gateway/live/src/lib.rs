//! Socket.IO: what happens, as it happens, to whoever looks.
//!
//! ```text
//!   the log ─► tail ─► history (bounded, one for all) ─► one task per client ─► its buffer (bounded) ─► socket
//!                           │ too far back                    ▲
//!                           └──────── the log itself, or a new snapshot
//! ```
//!
//! A projection behind the log: a message is a record that is committed, and its place there is its number. So a client that comes back
//! says how far it got (its cursor), at whichever instance, before or after a restart, and gets what follows, each once. What it gets first
//! is a snapshot of the tables with the cursor that belongs to it. What is on the tables already may be told once more behind it: it is the
//! same revision.
//!
//! | namespace | topic | messages |
//! |---|---|---|
//! | `/incidents` | `incidents` | facts, each with the incident after it |
//! | `/agents` | `incidents` | steps asked for and answered, orders to a run |
//! | `/remediations` | `remediations` | facts about remediations, the stop switch |
//! | `/pipeline` | – | the state of the pipeline, each second |
//!
//! On `/incidents` clients say what they look at, and hear who else does (`presence.rs`): the one thing that is of the moment, and not of
//! the log.
//!
//! Nobody is waited for: a client that does not take what it is sent within ten seconds is dropped, and comes back with its cursor.

mod client;
mod cursor;
mod door;
mod driver;
mod history;
mod look;
mod presence;
mod project;
mod settings;
mod tail;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use gateway::{Door, ReadError};
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::adapter::Emitter;
use socketioxide::service::SocketIoService;
use socketioxide_redis::{CustomRedisAdapter, RedisAdapterConfig, RedisAdapterCtr};
use stream::Log;
use stream::log::Topic;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use driver::SharedDriver;
use history::History;
use presence::Presence;

pub use cursor::Cursor;
pub use settings::LiveSettings;

/// Several instances are one server of Socket.IO.
type Adapter = CustomRedisAdapter<Emitter, SharedDriver>;

/// Packets that may wait for one client. More: more memory for whoever is slow; fewer: whoever stumbles is told to wait sooner.
const BUFFER: usize = 256;
/// Bytes of a client's message. It says who it is and where it was.
const PAYLOAD: u64 = 16 << 10;

/// What is shown of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    Incidents,
    Agents,
    Remediations,
    Pipeline,
}

impl Namespace {
    pub const ALL: [Namespace; 4] = [
        Namespace::Incidents,
        Namespace::Agents,
        Namespace::Remediations,
        Namespace::Pipeline,
    ];

    pub fn path(self) -> &'static str {
        match self {
            Namespace::Incidents => "/incidents",
            Namespace::Agents => "/agents",
            Namespace::Remediations => "/remediations",
            Namespace::Pipeline => "/pipeline",
        }
    }

    /// What its messages are read from.
    pub fn topic(self) -> Option<&'static str> {
        match self {
            Namespace::Incidents | Namespace::Agents => Some(model::topics::INCIDENTS),
            Namespace::Remediations => Some(model::topics::REMEDIATIONS),
            Namespace::Pipeline => None,
        }
    }
}

/// The state of a namespace at some moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// By partition: the state has everything before these offsets. `None` where it may have nothing yet.
    pub next: Vec<Option<u64>>,
    /// An object.
    pub state: Value,
}

/// Reads what clients get first. The pipeline implements it over the store.
#[async_trait]
pub trait Snapshots: Send + Sync + 'static {
    async fn snapshot(&self, of: Namespace) -> Result<Snapshot, ReadError>;
}

/// What it stands on.
#[derive(Clone)]
pub struct Stands {
    pub log: Arc<dyn Log>,
    pub snapshots: Arc<dyn Snapshots>,
    /// Knows who may read.
    pub door: Door,
    /// Between instances.
    pub pubsub: Arc<dyn shared::PubSub>,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    #[error("live settings cannot be used: {}", .0.join("; "))]
    Settings(Vec<String>),
    #[error("Socket.IO's namespace {path} cannot be opened: {cause}")]
    Namespace { path: &'static str, cause: String },
}

/// The server. Somebody must run it, and mount its routes.
pub struct Live {
    io: SocketIo<Adapter>,
    service: SocketIoService<Router, Adapter>,
    inner: Arc<Inner>,
}

/// What every client's task shares.
struct Inner {
    stands: Stands,
    settings: LiveSettings,
    incidents: History,
    remediations: History,
    presence: Presence,
    clients: Arc<Semaphore>,
    /// Clients that are read to from the log itself.
    catching_up: Semaphore,
    stop: CancellationToken,
}

/// Clients that may read the log at once because they were away for long.
const CATCHING_UP: usize = 8;

impl Live {
    /// Ready for clients as soon as its routes are served.
    ///
    /// # Errors
    /// The settings have faults.
    pub async fn open(settings: LiveSettings, stands: Stands, stop: CancellationToken) -> Result<Live, LiveError> {
        let faults = settings.faults();
        if !faults.is_empty() {
            return Err(LiveError::Settings(faults));
        }
        let driver = SharedDriver::new(stands.pubsub.clone());
        let constructor = RedisAdapterCtr::new_with_driver(driver, RedisAdapterConfig::new().with_prefix("aegis"));
        let (service, io) = SocketIo::builder()
            .max_buffer_size(BUFFER)
            .max_payload(PAYLOAD)
            .ws_max_message_size(PAYLOAD as usize)
            .ws_max_frame_size(PAYLOAD as usize)
            .ping_interval(settings.ping_interval.get())
            .with_adapter::<Adapter>(constructor)
            .build_with_inner_svc(Router::new());
        let bytes = usize::try_from(settings.history.0).unwrap_or(usize::MAX) / 2;
        let inner = Arc::new(Inner {
            clients: Arc::new(Semaphore::new(settings.max_clients as usize)),
            catching_up: Semaphore::new(CATCHING_UP),
            incidents: History::new(bytes),
            remediations: History::new(bytes),
            presence: Presence::new(stands.pubsub.clone()),
            stands,
            settings,
            stop,
        });
        for namespace in Namespace::ALL {
            let opened = door::open(&io, namespace, inner.clone()).await;
            opened.map_err(|cause| LiveError::Namespace {
                path: namespace.path(),
                cause,
            })?;
        }
        Ok(Live { io, service, inner })
    }

    /// `/socket.io/`, for every door that shows it.
    pub fn routes(&self) -> Router {
        // Its clones know the same connections; a layer would make a server of its own for every route, and axum for every request.
        Router::new().route_service("/socket.io/", self.service.clone())
    }

    /// Reads the log until it is told to stop; then everybody is sent away.
    pub async fn run(&self) {
        let inner = &self.inner;
        let (incidents, remediations): (Topic, Topic) =
            (model::topics::INCIDENTS.into(), model::topics::REMEDIATIONS.into());
        tokio::select! {
            () = tail::feed(&inner.stands.log, incidents, &inner.incidents) => {}
            () = tail::feed(&inner.stands.log, remediations, &inner.remediations) => {}
            () = inner.presence.run(&self.io) => {}
            () = inner.stop.cancelled() => {}
        }
        self.io.close().await;
        inner.presence.stop().await;
    }
}

impl Inner {
    fn history(&self, topic: &str) -> &History {
        match topic {
            model::topics::REMEDIATIONS => &self.remediations,
            _ => &self.incidents,
        }
    }
}
