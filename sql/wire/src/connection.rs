//! One connection, from its first byte to its last.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use datafusion_postgres::pgwire::api::{ClientInfo as _, ErrorHandler as _, NoopHandler, PgWireConnectionState};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use datafusion_postgres::pgwire::tokio::TlsAcceptor;
use datafusion_postgres::pgwire::tokio::server::{MaybeTls, negotiate_tls, process_error, process_message};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::codec::{Framed, FramedParts};

use crate::auth::Account;
use crate::errors::Translator;
use crate::kept::Kept;
use crate::metered::Metered;
use crate::session::{Prepared, Session};

/// From the first byte to the end of the login.
const LOGIN: Duration = Duration::from_secs(30);
/// Before somebody hears that the password was wrong.
const WRONG: Duration = Duration::from_millis(500);
/// Beyond a statement's time: a client that does not read its rows is left then.
const STUCK: Duration = Duration::from_secs(5);

/// What connections share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub session: Arc<Session>,
    pub account: Arc<Account>,
    pub translator: Arc<Translator>,
    pub tls: Option<TlsAcceptor>,
}

/// Serves a client until it leaves, or has to.
pub(crate) async fn serve(socket: TcpStream, shared: Shared) -> io::Result<()> {
    let until = Instant::now() + LOGIN;
    let negotiated = timeout_at(until, negotiate_tls::<Prepared>(socket, shared.tls.clone())).await;
    let Some(framed) = negotiated.map_err(|_| late())?? else {
        return Ok(());
    };
    let parts = framed.into_parts();
    let plain = matches!(parts.io, MaybeTls::Plain(_));
    let metered = Metered::new(parts.io, &parts.read_buf)?;
    let mut fresh = FramedParts::new::<PgWireBackendMessage>(metered, parts.codec);
    fresh.read_buf = parts.read_buf;
    fresh.write_buf = parts.write_buf;
    let mut socket = Framed::from_parts(fresh);

    let login = Arc::new(shared.account.login());
    let (copies, cancels) = (Arc::new(NoopHandler), Arc::new(shared.session.doings.clone()));
    let mut kept = Kept::default();
    loop {
        let entering = matches!(
            socket.state(),
            PgWireConnectionState::AwaitingStartup | PgWireConnectionState::AuthenticationInProgress
        );
        let message = match entering {
            true => timeout_at(until, socket.next()).await.map_err(|_| late())?,
            false => socket.next().await,
        };
        let message = match message {
            Some(Ok(PgWireFrontendMessage::Terminate(_))) | None => return Ok(()),
            Some(Ok(message)) => message,
            // What cannot be read has no end that could be found.
            Some(Err(error)) => {
                let told = ErrorInfo::new("FATAL".to_owned(), "08P01".to_owned(), error.to_string());
                let _ = timeout(
                    STUCK,
                    process_error(&mut socket, PgWireError::UserError(Box::new(told)), false),
                )
                .await;
                return Ok(());
            }
        };
        if matches!(message, PgWireFrontendMessage::Startup(_)) && plain && shared.tls.is_some() {
            let local = socket.socket_addr().ip().is_loopback();
            if !local {
                let text = "this server wants TLS: connect with sslmode=require";
                let told = ErrorInfo::new("FATAL".to_owned(), "28000".to_owned(), text.to_owned());
                return process_error(&mut socket, PgWireError::UserError(Box::new(told)), false).await;
            }
        }
        if entering && !enters(&message) {
            let told = ErrorInfo::new("FATAL".to_owned(), "08P01".to_owned(), "log in first".to_owned());
            return process_error(&mut socket, PgWireError::UserError(Box::new(told)), false).await;
        }
        let extended = message.is_extended_query();
        let done = match kept.look(&message) {
            Err(too_many) => Err(too_many),
            Ok(()) => {
                let work = process_message(
                    message,
                    &mut socket,
                    login.clone(),
                    shared.session.clone(),
                    shared.session.clone(),
                    copies.clone(),
                    cancels.clone(),
                );
                timeout(shared.session.time + STUCK, work).await.map_err(|_| late())?
            }
        };
        if let Err(mut error) = done {
            if entering {
                metrics::counter!("aegis_sql_logins_refused_total").increment(1);
                tracing::warn!(client = %socket.socket_addr(), %error, "a login was refused");
                sleep(WRONG).await;
            }
            shared.translator.on_error(&socket, &mut error);
            process_error(&mut socket, error, extended).await?;
            if entering {
                return socket.close().await;
            }
        }
    }
}

/// What may come before the login is done.
fn enters(message: &PgWireFrontendMessage) -> bool {
    matches!(
        message,
        PgWireFrontendMessage::Startup(_)
            | PgWireFrontendMessage::PasswordMessageFamily(_)
            | PgWireFrontendMessage::CancelRequest(_)
            | PgWireFrontendMessage::SslNegotiation(_)
    )
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client took too long")
}
