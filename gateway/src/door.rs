//! Who may read, for doors that are no route of the gateway: by the same tokens and sessions.

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue, Method};
use shared::Sessions;
use tokio::sync::watch;

use crate::changes::Changes;
use crate::guard::Guard;
use crate::reads::ReadError;
use crate::roles::Caller;
use crate::sessions::SessionDesk;
use crate::settings::GatewaySettings;

/// Cheap to clone.
#[derive(Clone)]
pub struct Door {
    guard: Guard,
    changes: Arc<Changes>,
}

impl Door {
    pub fn new(settings: &GatewaySettings, sessions: Arc<dyn Sessions>, changes: Arc<Changes>) -> Self {
        let desk = SessionDesk::new(settings, sessions, changes.clone());
        Door {
            guard: Guard::new(settings, desk),
            changes,
        }
    }

    /// Who comes with these headers, or with `token` in place of theirs; `None`: nobody who may read.
    ///
    /// # Errors
    /// Sessions cannot be asked now.
    pub async fn admit(&self, headers: &HeaderMap, token: Option<&str>) -> Result<Option<Caller>, ReadError> {
        let mut own = HeaderMap::new();
        let headers = match token {
            None => headers,
            Some(token) => {
                let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) else {
                    return Ok(None);
                };
                value.set_sensitive(true);
                own.insert(AUTHORIZATION, value);
                &own
            }
        };
        let admitted = self.guard.admit(&Method::GET, headers).await;
        let admitted = admitted.map_err(|_| ReadError::Unavailable("sessions cannot be asked".to_owned()))?;
        Ok(admitted.map(|admitted| admitted.caller()))
    }

    /// Changes whenever some session ended.
    pub fn session_ends(&self) -> watch::Receiver<u64> {
        self.changes.session_ends()
    }
}
