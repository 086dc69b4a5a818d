//! The pipe of `aegis mcp --stdio`: a socket in the data folder that its owner alone may open. A client says in its first line who it is,
//! as at the command line; then both sides speak MCP, one message a line.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway::{Caller, Role};
use rmcp::service::serve_server_with_ct;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::handler::Aegis;

/// The socket's name in the data folder.
pub const SOCKET: &str = "mcp.sock";
/// Longest first line, and how long it is waited for.
const HELLO: (u64, Duration) = (1_024, Duration::from_secs(10));

/// The first line of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The name of whoever started it.
    pub user: String,
}

/// Makes the socket, for its owner alone. One that a dead process left is replaced; the caller owns the folder.
///
/// # Errors
/// It cannot be made, or not be restricted.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves clients until `stop`, at most `clients` at a time.
pub async fn serve(listener: UnixListener, aegis: Aegis, max_line: usize, clients: u32, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(clients as usize));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a client over stdio was not taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            // Its end of the pipe closes, and it says so.
            tracing::warn!(
                clients,
                "too many clients over stdio: one was refused (mcp.max_sessions)"
            );
            continue;
        };
        let (aegis, stop) = (aegis.clone(), stop.child_token());
        tokio::spawn(async move {
            if let Err(error) = client(stream, aegis, max_line, stop).await {
                tracing::info!(%error, "a client over stdio ended");
            }
            drop(place);
        });
    }
}

async fn client(stream: UnixStream, aegis: Aegis, max_line: usize, stop: CancellationToken) -> io::Result<()> {
    let (read, write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut line = String::new();
    let (longest, patience) = HELLO;
    let mut first = (&mut read).take(longest);
    tokio::time::timeout(patience, first.read_line(&mut line)).await??;
    let hello: Hello = serde_json::from_str(line.trim_end())?;
    let known = |letter: char| letter.is_alphanumeric() || "-_.@".contains(letter);
    let named = !hello.user.is_empty() && hello.user.len() <= 64 && hello.user.chars().all(known);
    let caller = Caller {
        name: Some(if named { hello.user } else { "unnamed".to_owned() }),
        // Whoever owns the folder may do everything at the command line.
        role: Role::Admin,
    };
    let transport = AsyncRwTransport::new_server(read, write).with_max_line_length(max_line);
    let running = serve_server_with_ct(aegis.for_caller(caller), transport, stop).await;
    let running = running.map_err(|error| io::Error::other(error.to_string()))?;
    running.waiting().await.map_err(io::Error::other)?;
    Ok(())
}
