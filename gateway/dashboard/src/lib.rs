//! The dashboard's door: its page, and under the same origin what the page asks (REST) and hears (Socket.IO).
//!
//! The page's files are part of the program. Whoever built it without them sees how to build them. A page that an attacker could slip text into
//! runs none of it: the policy that it is sent with allows no script but its own files.

mod assets;
mod settings;

use std::future::IntoFuture as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue};
use stream::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

pub use settings::DashboardSettings;

/// How long requests in flight may take once told to stop.
const GRACE: Duration = Duration::from_secs(2);

/// Sent with every answer. Styles may stand in the page because libraries for dialogs and charts put them there; scripts may not.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 5] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// Why it cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    #[error("dashboard settings cannot be used: {}", .0.join("; "))]
    Settings(Vec<String>),
    #[error(
        "cannot listen on {address} for the dashboard: {cause}. Is another program (another aegis?) using the port? Stop it, or set another dashboard.listen"
    )]
    Listen { address: SocketAddr, cause: io::Error },
    #[error("serving the dashboard on {address}: {cause}")]
    Serve { address: SocketAddr, cause: io::Error },
}

/// Bound and not yet serving.
pub struct Dashboard {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl Dashboard {
    /// Takes the port. `beside`: REST and Socket.IO.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(settings: &DashboardSettings, beside: Router) -> Result<Self, DashboardError> {
        let failed = |cause| DashboardError::Listen {
            address: settings.listen,
            cause,
        };
        let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Dashboard {
            listener,
            address,
            router: router(beside),
        })
    }

    /// Where it listens; tells the port when `listen` asks for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then finishes the requests in flight.
    pub fn serve(self, stop: CancellationToken) -> BoxFuture<'static, Result<(), DashboardError>> {
        Box::pin(async move {
            let Dashboard {
                listener,
                address,
                router,
            } = self;
            tracing::info!(%address, "dashboard listens");
            let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
            let cut = async {
                stop.cancelled().await;
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                served = serving.into_future() => served.map_err(|cause| DashboardError::Serve { address, cause }),
                () = cut => Ok(()),
            }
        })
    }
}

/// The page for every path that is not one of `beside`.
pub fn router(beside: Router) -> Router {
    let page = beside.fallback(assets::file);
    page.layer(axum::middleware::map_response(
        async |mut response: axum::response::Response| {
            let headers = response.headers_mut();
            for (name, value) in HEADERS {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            response
        },
    ))
    .layer(CatchPanicLayer::new())
}
