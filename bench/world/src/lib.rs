//! The world beside Aegis, for tests and demos: stand-ins that speak real HTTP and keep a state.
//!
//! ```text
//!  /apis/apps/v1, /api/v1   a Kubernetes API server with the controllers that replace pods; lists and watches
//!  /metrics                 what those pods use and serve, for a real Prometheus to scrape
//!  /loki/api/v1             a Loki: push, query_range, labels
//!  /prometheus/api/v1       a twin of Prometheus for stored series: selectors alone, no functions
//!  /api/chat.*              Slack's Web API, and /api/conversations.history and .replies
//!  /github                  GitHub's REST API: commits, deployments, issues, pull requests, runs, webhooks and their deliveries
//!  /jira                    a Jira: search, issues, comments, transitions
//!  /_world                  faults, what was asked, what was said, a new scenario
//! ```
//!
//! All of it stands on one port and in one state, so a restart that is asked of the API server is seen in the memory that the
//! exporter tells. Nothing happens by itself: whoever asks first moves the state to the present ([`kubernetes::Cluster::advance`]).
//!
//! [`demo`] tells one story in it, to a real Aegis beside a real Prometheus; in the place of the Kubernetes stand-in a real cluster
//! may stand ([`real`]).
//!
//! Not here: server-side apply, creating or deleting objects, namespaces, roles, admission.

mod client;
mod control;
pub mod demo;
mod exporter;
pub mod faults;
pub mod github;
pub mod jira;
pub mod kubernetes;
pub mod loki;
mod ports;
pub mod prometheus;
pub mod real;
pub mod scenario;
pub mod slack;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use faults::{Fault, FaultKind, System};
pub use ports::{free_addresses, free_port};
pub use scenario::Scenario;

/// Everything that the stand-ins know.
pub struct State {
    pub kubernetes: kubernetes::Cluster,
    pub loki: loki::Store,
    pub prometheus: prometheus::Store,
    pub slack: slack::Workspace,
    pub github: github::Forge,
    pub jira: jira::Board,
    pub faults: Vec<Fault>,
    /// Requests that reached a stand-in, oldest first.
    pub requests: Vec<Seen>,
}

/// A request that reached a stand-in.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    pub system: System,
    pub at: DateTime<Utc>,
    pub method: String,
    /// Path and query.
    pub uri: String,
    /// Headers as they came, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A world, shared by the server and who looks at it.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

impl World {
    pub fn new(scenario: Scenario) -> Self {
        World(Arc::new(Mutex::new(State {
            kubernetes: kubernetes::Cluster::new(scenario, Utc::now()),
            loki: loki::Store::default(),
            prometheus: prometheus::Store::default(),
            slack: slack::Workspace::default(),
            github: github::Forge::default(),
            jira: jira::Board::default(),
            faults: Vec::new(),
            requests: Vec::new(),
        })))
    }

    /// The state, moved to the present.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A handler that panicked leaves a state that is still worth looking at.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.kubernetes.advance(Utc::now());
        state
    }

    /// From now on this happens to the requests that it names.
    pub fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Requests to `system` with `method`, so far.
    pub fn count(&self, system: System, method: &str) -> usize {
        let state = self.state();
        state
            .requests
            .iter()
            .filter(|seen| seen.system == system && seen.method == method)
            .count()
    }

    pub fn router(&self) -> Router {
        Router::new()
            .merge(kubernetes::routes::router())
            .merge(exporter::router())
            .merge(loki::router())
            .merge(prometheus::router())
            .merge(slack::router())
            .merge(github::router())
            .merge(jira::router())
            .layer(axum::middleware::from_fn_with_state(self.clone(), faults::middleware))
            .merge(control::router())
            .with_state(self.clone())
    }

    /// Serves it until the answer is dropped. Port 0 takes a free one.
    pub async fn start(&self, listen: SocketAddr) -> std::io::Result<Running> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let router = self.router();
        let server = tokio::spawn(async move {
            // It ends with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Running { address, server })
    }
}

/// A world that is being served.
pub struct Running {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`, the address of every stand-in but the Prometheus twin, which stands below `/prometheus`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}
