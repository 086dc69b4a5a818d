//! Bearer tokens: compared in constant time, as digests, so that neither content nor length leaks.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::roles::{Caller, Role};
use crate::settings::GatewaySettings;

/// Knows whose token it is. Without any token everybody may read, and nobody may do more.
#[derive(Clone)]
pub struct Tokens(Arc<[(TokenDigest, Caller)]>);

pub(crate) type TokenDigest = [u8; 32];

/// What headers say of who asks.
pub(crate) enum Bearer {
    /// No token is needed: nobody is asked.
    NotNeeded,
    /// There is none.
    None,
    Known(Caller, TokenDigest),
    /// One that is none of ours, or more than one.
    Wrong,
}

impl Tokens {
    pub fn new(settings: &GatewaySettings) -> Self {
        let readers = settings.read_tokens.iter().map(|token| {
            let caller = Caller {
                name: None,
                role: Role::Viewer,
            };
            (digest(token.expose().as_bytes()), caller)
        });
        let named = settings.tokens.iter().map(|(name, token)| {
            let caller = Caller {
                name: Some(name.clone()),
                role: token.role,
            };
            (digest(token.token.expose().as_bytes()), caller)
        });
        Tokens(readers.chain(named).collect())
    }

    /// Who sends these headers; `None` for a token that is none of ours, and for none where one is needed.
    pub fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        match self.bearer(headers) {
            Bearer::NotNeeded => Some(Caller {
                name: None,
                role: Role::Viewer,
            }),
            Bearer::Known(caller, _) => Some(caller),
            Bearer::None | Bearer::Wrong => None,
        }
    }

    pub(crate) fn bearer(&self, headers: &HeaderMap) -> Bearer {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            // Also a token that opens nothing does not keep anybody from what is open.
            (_, None) if self.0.is_empty() => Bearer::NotNeeded,
            (None, None) => Bearer::None,
            (Some(value), None) => self.known(value.as_bytes()).unwrap_or(Bearer::Wrong),
            _ => Bearer::Wrong,
        }
    }

    fn known(&self, value: &[u8]) -> Option<Bearer> {
        let (scheme, token) = value.split_at_checked(7)?;
        let sent = digest(token.trim_ascii());
        // Every token is compared, whichever matches.
        let mut found = None;
        for (token, caller) in self.0.iter() {
            if bool::from(token.ct_eq(&sent)) {
                found = Some(caller);
            }
        }
        let caller = found.filter(|_| scheme.eq_ignore_ascii_case(b"bearer "))?;
        Some(Bearer::Known(caller.clone(), sent))
    }

    /// The first whose token `is` says yes to.
    pub(crate) fn find(&self, mut is: impl FnMut(&TokenDigest, &Caller) -> bool) -> Option<&Caller> {
        let found = self.0.iter().find(|(token, caller)| is(token, caller));
        found.map(|(_, caller)| caller)
    }
}

fn digest(token: &[u8]) -> TokenDigest {
    Sha256::digest(token).into()
}
