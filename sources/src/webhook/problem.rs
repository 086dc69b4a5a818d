//! Answers that say no: `application/problem+json` (RFC 9457) with the field, the place and the remedy, and the
//! reason under which the refusal is counted.
//!
//! The status decides what the sender does next. 4xx: the request will never be taken as it is. 503 with
//! `Retry-After`: send the same again. 408 is never used, and 429 only to senders that come again on it: Alertmanager retries 5xx only and
//! would give the notification up.

use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// Label of the counter `aegis_webhook_refused_total`: a fixed word, never the sender's text.
    pub reason: &'static str,
    /// What is wrong, for the sender. Empty for a stranger.
    pub detail: String,
    /// The offending field, where there is one.
    pub field: Option<Box<str>>,
    /// Where it stands: a JSON pointer, or `line 3 column 7`, or `header NAME`.
    pub place: Option<Box<str>>,
    /// What the sender can do about it.
    pub remedy: Option<Box<str>>,
    pub retry_after_s: Option<u32>,
    /// The rest of the request was not read, so the connection is of no further use.
    pub close: bool,
}

/// The body of the answer.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
}

impl Refusal {
    pub fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Refusal {
            status,
            reason,
            detail: detail.into(),
            field: None,
            place: None,
            remedy: None,
            retry_after_s: None,
            close: false,
        }
    }

    /// The body or a header is not what this endpoint takes.
    pub fn bad(reason: &'static str, detail: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, reason, detail)
    }

    /// Not taken now; the same request may be taken later.
    pub fn later(reason: &'static str, detail: impl Into<String>, retry_after_s: u32) -> Self {
        let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail);
        Refusal {
            retry_after_s: Some(retry_after_s.max(1)),
            ..refusal
        }
    }

    /// Sent faster than the address may. `status` makes this sender slow down, and send again.
    pub fn too_fast(status: StatusCode, retry_after_s: u32) -> Self {
        Refusal {
            retry_after_s: Some(retry_after_s.max(1)),
            ..Refusal::new(status, "rate", "requests come faster than `rate_per_s` allows")
        }
        .closing()
    }

    pub fn field(self, field: impl Into<Box<str>>) -> Self {
        Refusal {
            field: Some(field.into()),
            ..self
        }
    }

    pub fn place(self, place: impl Into<Box<str>>) -> Self {
        Refusal {
            place: Some(place.into()),
            ..self
        }
    }

    pub fn remedy(self, remedy: impl Into<Box<str>>) -> Self {
        Refusal {
            remedy: Some(remedy.into()),
            ..self
        }
    }

    /// Detail, place and remedy, for senders that take one text.
    pub fn sentence(&self) -> String {
        let mut sentence = self.detail.clone();
        for part in [&self.place, &self.remedy].into_iter().flatten() {
            sentence.push_str("; ");
            sentence.push_str(part);
        }
        sentence
    }

    pub fn closing(self) -> Self {
        Refusal { close: true, ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("refused"),
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field.as_deref(),
            place: self.place.as_deref(),
            remedy: self.remedy.as_deref(),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
