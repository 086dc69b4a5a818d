//! Errors as `application/problem+json` (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// A request that was not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// What is wrong, and what to do about it. Empty for a stranger.
    pub detail: String,
    /// The offending query parameter or path segment.
    pub field: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            status,
            detail: detail.into(),
            field: None,
        }
    }

    /// A fault of the request, in `field`.
    pub fn bad(field: &str, detail: impl Into<String>) -> Self {
        Problem {
            field: Some(field.to_owned()),
            ..Problem::new(StatusCode::BAD_REQUEST, detail)
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("error");
        let mut body = serde_json::json!({"type": "about:blank", "title": title, "status": self.status.as_u16()});
        if !self.detail.is_empty() {
            body["detail"] = self.detail.into();
        }
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
            }
            _ => {}
        }
        response
    }
}
