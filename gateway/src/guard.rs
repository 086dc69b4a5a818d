//! Who asks: by a bearer token ([`crate::tokens`]), or by the cookie of a session ([`crate::sessions`]). A token comes before a cookie.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::roles::{Caller, Role};
use crate::sessions::{Presented, SessionDesk, Signed};
use crate::settings::GatewaySettings;
use crate::tokens::{Bearer, Tokens};

/// Knows who may what.
#[derive(Clone)]
pub struct Guard {
    tokens: Tokens,
    desk: SessionDesk,
}

/// Who was let in, and by what.
pub enum Admitted {
    /// Where no token is needed.
    Anybody,
    Token(Caller, Presented),
    Session(Caller, Signed),
}

impl Admitted {
    pub fn caller(self) -> Caller {
        match self {
            Admitted::Anybody => Caller {
                name: None,
                role: Role::Viewer,
            },
            Admitted::Token(caller, _) | Admitted::Session(caller, _) => caller,
        }
    }
}

impl Guard {
    pub fn new(settings: &GatewaySettings, desk: SessionDesk) -> Self {
        let tokens = Tokens::new(settings);
        Guard { tokens, desk }
    }

    /// `Ok(None)`: nobody we know.
    pub async fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Admitted>, Problem> {
        match self.tokens.bearer(headers) {
            Bearer::NotNeeded if names_us(headers) => Ok(Some(Admitted::Anybody)),
            Bearer::NotNeeded => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "no token is needed here, so only an address or localhost opens it: under another name any web page could read it in your browser. \
                 To use that name, set gateway.read_tokens or gateway.tokens",
            )),
            Bearer::None => self.by_session(method, headers).await,
            Bearer::Known(caller, token) => Ok(Some(Admitted::Token(caller, Presented(token)))),
            Bearer::Wrong => Ok(None),
        }
    }

    async fn by_session(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Admitted>, Problem> {
        let Some(secret) = self.desk.carried(headers) else {
            return Ok(None);
        };
        let Some(signed) = self.desk.find(&secret).await? else {
            return Ok(None);
        };
        // The token that opened it must still be there, and says what it may now.
        let caller = self.tokens.find(|token, caller| {
            caller.name.as_deref() == Some(signed.session.user.as_str())
                && SessionDesk::opened_with(&secret, &signed, token)
        });
        let Some(caller) = caller else {
            return Ok(None);
        };
        SessionDesk::same_site(&signed, method, headers)?;
        Ok(Some(Admitted::Session(caller.clone(), signed)))
    }
}

/// Whether the request names an address or this machine, or nothing. A name that a stranger made point to this machine (DNS rebinding) would make
/// his page ours.
fn names_us(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let local = name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    local || bare.parse::<IpAddr>().is_ok()
}

/// The middleware of guarded routes: lets in whoever is known, and says who it is.
pub async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let admitted = match guard.admit(request.method(), request.headers()).await {
        Ok(admitted) => admitted,
        Err(problem) => return problem.into_response(),
    };
    let Some(admitted) = admitted else {
        tracing::warn!(
            path = request.uri().path(),
            "caller without a valid token or session refused"
        );
        return Problem::new(StatusCode::UNAUTHORIZED, "").into_response();
    };
    match &admitted {
        Admitted::Anybody => {}
        Admitted::Token(_, token) => {
            request.extensions_mut().insert(*token);
        }
        Admitted::Session(_, signed) => {
            request.extensions_mut().insert(signed.clone());
        }
    }
    request.extensions_mut().insert(admitted.caller());
    next.run(request).await
}

/// The middleware of routes that need a role: who is not known gets 401, who may not gets 403, both without a word more.
pub async fn require(State(least): State<Role>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    match caller {
        Some(caller) if caller.name.is_some() && caller.role >= least => next.run(request).await,
        Some(caller) => {
            let status = match caller.name {
                Some(_) => StatusCode::FORBIDDEN,
                None => StatusCode::UNAUTHORIZED,
            };
            tracing::warn!(
                path = request.uri().path(),
                needed = least.as_str(),
                had = caller.role.as_str(),
                "refused"
            );
            Problem::new(status, "").into_response()
        }
        None => Problem::new(StatusCode::UNAUTHORIZED, "").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (host, ours) in [
            ("127.0.0.1:8000", true),
            ("[::1]:8000", true),
            ("LocalHost", true),
            ("aegis.localhost:3000", true),
            ("10.1.2.3", true),
            ("aegis.example.com", false),
            ("127.0.0.1.evil.example:8000", false),
            ("localhost.evil.example", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(names_us(&headers), ours, "{host}");
        }
        assert!(names_us(&HeaderMap::new()));
    }
}
