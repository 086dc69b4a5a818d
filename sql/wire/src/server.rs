//! The listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;
use datafusion_postgres::pgwire::error::ErrorInfo;
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use sql::Engine;
use stream::BoxFuture;
use stream::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::auth::Account;
use crate::connection::{self, Shared};
use crate::errors::Translator;
use crate::session::Session;
use crate::settings::SqlServerSettings;
use crate::tls;

/// After an accept that failed: there may be no file descriptors left.
const BREATH: Duration = Duration::from_millis(100);
/// The codes of SSLRequest and GSSENCRequest.
const ENCRYPTIONS: [u32; 2] = [80_877_103, 80_877_104];
/// For telling a client that there are too many.
const TELL: Duration = Duration::from_secs(1);
/// Clients that are being told so at a time; others find the connection closed.
const TOLD: usize = 1_000;

/// See the crate's header.
pub struct Server {
    listener: TcpListener,
    shared: Shared,
    max_connections: u32,
}

impl Server {
    /// Listens. Errors name the setting, or the file.
    pub async fn bind(settings: &SqlServerSettings, password: &Secret, engine: &Engine) -> Result<Server, String> {
        let context = engine.session().await.map_err(|error| error.to_string())?;
        setup_pg_catalog(&context, sql::CATALOG, EmptyContextProvider).map_err(|error| error.to_string())?;
        let (acceptor, chain) = match (&settings.tls_certificate, &settings.tls_key) {
            (Some(certificate), Some(key)) => {
                let acceptor = tls::acceptor(certificate, key)?;
                let chain = tokio::fs::read(certificate).await;
                (
                    Some(acceptor),
                    Some(chain.map_err(|error| format!("{}: {error}", certificate.display()))?),
                )
            }
            _ => (None, None),
        };
        let listener = TcpListener::bind(settings.listen).await;
        let listener =
            listener.map_err(|error| format!("sql.listen: cannot listen on {}: {error}", settings.listen))?;
        let session = Session::new(context, settings.statement_timeout.0, settings.max_rows);
        Ok(Server {
            listener,
            shared: Shared {
                session: Arc::new(session),
                account: Arc::new(Account::new(&settings.user, password, chain)),
                translator: Arc::new(Translator {
                    memory: engine.options().memory_bytes,
                }),
                tls: acceptor,
            },
            max_connections: settings.max_connections,
        })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`; statements at work then are cut off.
    pub fn serve(self, stop: CancellationToken) -> BoxFuture<'static, ()> {
        Box::pin(self.serve_until(stop))
    }

    async fn serve_until(self, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.max_connections as usize));
        let told = Arc::new(Semaphore::new(TOLD));
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                // Who has left is let go.
                Some(_) = clients.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let (socket, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot take a client's connection");
                    sleep(BREATH).await;
                    continue;
                }
            };
            if let Ok(place) = room.clone().try_acquire_owned() {
                let shared = self.shared.clone();
                clients.spawn(async move {
                    metrics::gauge!("aegis_sql_connections").increment(1);
                    if let Err(error) = connection::serve(socket, shared).await {
                        tracing::debug!(%peer, %error, "a client's connection ended");
                    }
                    metrics::gauge!("aegis_sql_connections").decrement(1);
                    drop(place);
                });
            } else {
                metrics::counter!("aegis_sql_connections_refused_total").increment(1);
                if let Ok(place) = told.clone().try_acquire_owned() {
                    let most = self.max_connections;
                    clients.spawn(async move {
                        let _ = timeout(TELL, refuse(socket, most)).await;
                        drop(place);
                    });
                }
            }
        }
        clients.shutdown().await;
    }
}

/// Tells a client that there is no room, and waits until it has heard it: closing over unread bytes would take the answer back.
async fn refuse(mut socket: TcpStream, most: u32) -> io::Result<()> {
    let mut info = ErrorInfo::new(
        "FATAL".to_owned(),
        "53300".to_owned(),
        format!("there are {most} clients already"),
    );
    info.hint = Some("try again later, or raise sql.max_connections".to_owned());
    let mut bytes = BytesMut::new();
    PgWireBackendMessage::ErrorResponse(info.into())
        .encode(&mut bytes)
        .map_err(io::Error::other)?;
    // Length and code. Who asks for encryption first expects a letter, and asks on.
    loop {
        let (_length, code) = (socket.read_u32().await?, socket.read_u32().await?);
        if !ENCRYPTIONS.contains(&code) {
            break;
        }
        socket.write_all(b"N").await?;
    }
    socket.write_all(&bytes).await?;
    socket.shutdown().await?;
    let mut rest = [0; 1024];
    while socket.read(&mut rest).await? > 0 {}
    Ok(())
}
