//! Who comes in: whoever may read over REST, from a page of this origin or of one that is allowed.
//!
//! A browser sends its cookies to any address that a page connects to, and where no token is needed it needs none: so the page's origin is
//! looked at. Who sends no `Origin` is no browser.

use std::fmt;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use gateway::Caller;
use serde::Deserialize;
use socketioxide::SocketIo;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use tokio::sync::OwnedSemaphorePermit;

use crate::{Adapter, Inner, Namespace, client, presence};

/// What a client says when it connects.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// A bearer token, for whoever has no session.
    pub token: Option<String>,
    /// How far it got before.
    pub cursor: Option<String>,
    /// On `/incidents`: of several facts about one incident that wait at the same time, the newest is enough.
    pub latest: bool,
}

/// A client that was let in.
#[derive(Clone)]
pub struct Admitted {
    pub hello: Hello,
    pub caller: Caller,
    /// Its place among the clients, for as long as it is here.
    _place: Arc<OwnedSemaphorePermit>,
}

/// Why a client was not let in, in the word that it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Unauthorized,
    Origin,
    Busy,
    Unavailable,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Unauthorized => "unauthorized",
            Refused::Origin => "origin",
            Refused::Busy => "busy",
            Refused::Unavailable => "unavailable",
        })
    }
}

/// Opens a namespace.
pub async fn open(io: &SocketIo<Adapter>, namespace: Namespace, inner: Arc<Inner>) -> Result<(), String> {
    let asked = inner.clone();
    let admit = move |socket: SocketRef<Adapter>, hello: TryData<Hello>| {
        let inner = asked.clone();
        async move {
            let admitted = admit(&inner, &socket.req_parts().headers, hello.0.unwrap_or_default()).await;
            let admitted = admitted.inspect_err(|why| {
                metrics::counter!("aegis_live_refused_total", "reason" => why.to_string()).increment(1);
                tracing::debug!(%why, namespace = namespace.path(), "client refused");
            })?;
            socket.extensions.insert(admitted);
            if namespace == Namespace::Incidents {
                socket.extensions.insert(presence::listen(&socket));
            }
            Ok::<(), Refused>(())
        }
    };
    let serve = move |socket: SocketRef<Adapter>| {
        let inner = inner.clone();
        async move {
            let Some(admitted) = socket.extensions.get::<Admitted>() else {
                return;
            };
            client::serve(&inner, namespace, socket, admitted).await;
        }
    };
    let opened = io.ns(namespace.path(), serve.with(admit)).await;
    opened.map_err(|error| error.to_string())
}

async fn admit(inner: &Inner, headers: &HeaderMap, hello: Hello) -> Result<Admitted, Refused> {
    if !same_origin(headers, &inner.settings.allowed_origins) {
        return Err(Refused::Origin);
    }
    let asked = inner.stands.door.admit(headers, hello.token.as_deref()).await;
    let caller = asked.map_err(|_| Refused::Unavailable)?.ok_or(Refused::Unauthorized)?;
    let place = inner.clients.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
    Ok(Admitted {
        hello,
        caller,
        _place: Arc::new(place),
    })
}

fn same_origin(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let own = origin
        .split_once("://")
        .is_some_and(|(_, named)| host.is_some_and(|host| named.eq_ignore_ascii_case(host)));
    own || allowed.iter().any(|one| one.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let allowed = ["https://status.example.com".to_owned()];
        let check = |origin: Option<&str>, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            same_origin(&headers, &allowed)
        };
        assert!(check(None, "127.0.0.1:3000"));
        assert!(check(Some("http://127.0.0.1:3000"), "127.0.0.1:3000"));
        assert!(check(Some("https://Aegis.example.com"), "aegis.example.com"));
        assert!(check(Some("https://status.example.com"), "aegis.example.com"));
        assert!(!check(Some("http://evil.example"), "127.0.0.1:3000"));
        assert!(!check(Some("http://127.0.0.1:3001"), "127.0.0.1:3000"));
        assert!(!check(Some("null"), "127.0.0.1:3000"));
        assert!(!check(
            Some("https://status.example.com.evil.example"),
            "aegis.example.com"
        ));
    }
}
