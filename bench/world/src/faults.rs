//! What goes wrong on the way: each stand-in can be told to fail, hang, answer rubbish, or answer twice or late.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use serde::{Deserialize, Serialize};

use crate::{Seen, World};

/// Requests remembered. More would only fill the memory of a long demo.
const REMEMBERED: usize = 10_000;

/// Longest request taken.
const REQUEST_LIMIT: usize = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    Kubernetes,
    Loki,
    Prometheus,
    Slack,
    Github,
    Jira,
    Exporter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Answered with `status`; nothing happens.
    Error,
    /// Never answered; nothing happens.
    Hang,
    /// It happens, and is never answered.
    Lost,
    /// It happens, and is answered `delay_ms` later.
    Late,
    /// It happens twice; the second answer is given.
    Twice,
    /// Answered with 200 and a page; nothing happens.
    Rubbish,
    /// Answered with 200 and 64 MiB of JSON; nothing happens.
    Huge,
    /// It happens; the answer breaks off after its first byte.
    Cut,
}

/// A fault, and the requests that it befalls.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub system: System,
    pub kind: FaultKind,
    /// Of every method where it is absent.
    #[serde(default)]
    pub method: Option<String>,
    /// A part of the path; of every path where it is absent.
    #[serde(default)]
    pub path: Option<String>,
    /// How often; for ever where it is absent.
    #[serde(default)]
    pub times: Option<u32>,
    #[serde(default = "internal_error")]
    pub status: u16,
    /// Body of an [`FaultKind::Error`].
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub delay_ms: u64,
}

fn internal_error() -> u16 {
    500
}

impl Fault {
    /// On every request to `system`, until healed.
    pub fn new(system: System, kind: FaultKind) -> Self {
        Fault {
            system,
            kind,
            method: None,
            path: None,
            times: None,
            status: internal_error(),
            body: String::new(),
            delay_ms: 0,
        }
    }

    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    pub fn answer(mut self, status: u16, body: &str) -> Self {
        self.status = status;
        self.body = body.to_owned();
        self
    }

    fn befalls(&self, seen: &Seen) -> bool {
        self.system == seen.system
            && self.times != Some(0)
            && self.method.as_ref().is_none_or(|method| *method == seen.method)
            && self.path.as_ref().is_none_or(|path| seen.uri.contains(path))
    }
}

fn system_of(path: &str) -> System {
    match path {
        path if path.starts_with("/loki/") => System::Loki,
        path if path.starts_with("/prometheus/") => System::Prometheus,
        path if path.starts_with("/api/chat.") || path.starts_with("/api/conversations.") => System::Slack,
        path if path.starts_with("/github/") => System::Github,
        path if path.starts_with("/jira/") => System::Jira,
        "/metrics" => System::Exporter,
        _ => System::Kubernetes,
    }
}

/// Around every stand-in.
pub(crate) async fn middleware(State(world): State<World>, request: Request, next: Next) -> Response {
    let headers = request.headers().iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let seen = Seen {
        system: system_of(request.uri().path()),
        at: chrono::Utc::now(),
        method: request.method().as_str().to_owned(),
        uri: request.uri().to_string(),
        headers: headers.collect(),
    };
    let Some(fault) = remember(&world, seen) else {
        return next.run(request).await;
    };
    match fault.kind {
        FaultKind::Error => {
            let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, fault.body).into_response()
        }
        FaultKind::Hang => std::future::pending().await,
        FaultKind::Lost => {
            next.run(request).await;
            std::future::pending().await
        }
        FaultKind::Late => {
            let answer = next.run(request).await;
            tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
            answer
        }
        FaultKind::Twice => {
            let (parts, body) = request.into_parts();
            let Ok(body) = to_bytes(body, REQUEST_LIMIT).await else {
                return StatusCode::PAYLOAD_TOO_LARGE.into_response();
            };
            let once = Request::from_parts(parts.clone(), Body::from(body.clone()));
            next.clone().run(once).await;
            next.run(Request::from_parts(parts, Body::from(body))).await
        }
        FaultKind::Rubbish => {
            let page = "<html><body><h1>It works!</h1></body></html>";
            ([(header::CONTENT_TYPE, "text/html")], page).into_response()
        }
        FaultKind::Huge => {
            let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b'['; 1 << 20]));
            Body::from_stream(stream::iter((0..64).map(move |_| chunk()))).into_response()
        }
        FaultKind::Cut => {
            next.run(request).await;
            let broken = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("cut"))];
            Body::from_stream(stream::iter(broken)).into_response()
        }
    }
}

/// Notes the request; the first fault that befalls it, counted down.
fn remember(world: &World, seen: Seen) -> Option<Fault> {
    let mut state = world.state();
    let fault = state.faults.iter_mut().find(|fault| fault.befalls(&seen));
    let fault = fault.map(|fault| {
        fault.times = fault.times.map(|times| times - 1);
        fault.clone()
    });
    if state.requests.len() == REMEMBERED {
        state.requests.remove(0);
    }
    state.requests.push(seen);
    fault
}
