//! The web-hook handshake: a sender asks by `OPTIONS` whether its events are wanted. The answer grants nothing, the
//! delivery itself still needs a token; so it is given to anybody.

use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// Allows the asking origin, at any rate: too much at a time is answered with 503.
pub fn answer(headers: &HeaderMap) -> Response {
    let allow = (ALLOW, HeaderValue::from_static("OPTIONS, POST"));
    match headers.get("webhook-request-origin") {
        Some(origin) => {
            let mut response = (StatusCode::OK, [allow]).into_response();
            response.headers_mut().insert("webhook-allowed-origin", origin.clone());
            response
                .headers_mut()
                .insert("webhook-allowed-rate", HeaderValue::from_static("*"));
            response
        }
        // Not a handshake: somebody only asks what is possible.
        None => (StatusCode::NO_CONTENT, [allow]).into_response(),
    }
}
