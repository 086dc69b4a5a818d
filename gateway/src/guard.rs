//! Who asks: by a bearer token ([`crate::tokens`]), or by the cookie of a session ([`crate::sessions`]). A token comes before a cookie.

use axum::extract::{Request, State};
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
enum Admitted {
    /// Where no token is needed.
    Anybody,
    Token(Caller, Presented),
    Session(Caller, Signed),
}

impl Guard {
    pub fn new(settings: &GatewaySettings, desk: SessionDesk) -> Self {
        let tokens = Tokens::new(settings);
        Guard { tokens, desk }
    }

    /// `Ok(None)`: nobody we know.
    async fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Admitted>, Problem> {
        match self.tokens.bearer(headers) {
            Bearer::NotNeeded => Ok(Some(Admitted::Anybody)),
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

/// The middleware of guarded routes: lets in whoever is known, and says who it is.
pub async fn admit(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let admitted = match guard.admit(request.method(), request.headers()).await {
        Ok(admitted) => admitted,
        Err(problem) => return problem.into_response(),
    };
    let caller = match admitted {
        Some(Admitted::Anybody) => Caller {
            name: None,
            role: Role::Viewer,
        },
        Some(Admitted::Token(caller, token)) => {
            request.extensions_mut().insert(token);
            caller
        }
        Some(Admitted::Session(caller, signed)) => {
            request.extensions_mut().insert(signed);
            caller
        }
        None => {
            tracing::warn!(
                path = request.uri().path(),
                "caller without a valid token or session refused"
            );
            return Problem::new(StatusCode::UNAUTHORIZED, "").into_response();
        }
    };
    request.extensions_mut().insert(caller);
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
