//! Watches: a line of JSON per change, bookmarks between them.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::patch::Fault;
use super::selector;
use crate::World;

/// How often a watch looks for changes.
const LOOK: Duration = Duration::from_millis(20);

/// How long a watch lasts where nobody says.
const LONGEST: u64 = 300;

/// What is watched.
pub(super) struct Asked {
    pub plural: String,
    pub namespace: Option<String>,
    pub parameters: HashMap<String, String>,
    pub form: fn(&Value) -> Value,
}

impl Asked {
    fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map(String::as_str).unwrap_or_default()
    }

    fn wants(&self, object: &Value) -> bool {
        let namespace = self.namespace.as_ref();
        namespace.is_none_or(|namespace| object["metadata"]["namespace"] == **namespace)
            && selector::labels(self.parameter("labelSelector"), object).unwrap_or(false)
            && selector::fields(self.parameter("fieldSelector"), object).unwrap_or(false)
    }
}

struct Watching {
    world: World,
    asked: Asked,
    version: u64,
    cuts: u64,
    ends_at: Instant,
    bookmark_at: Option<Instant>,
    over: bool,
}

/// The answer to a watch that is allowed.
pub(super) fn answer(world: &World, asked: Asked) -> Result<Response, Fault> {
    let bad = |message: String| Fault {
        code: 400,
        reason: "BadRequest",
        message,
    };
    let number = |name: &str, default: u64| match asked.parameter(name) {
        "" => Ok(default),
        text => text.parse().map_err(|_| bad(format!("{name}: {text:?} is no number"))),
    };
    let (version, cuts, bookmarks) = {
        let state = world.state();
        let every = Duration::from_millis(state.kubernetes.scenario.bookmark_every_ms.max(1));
        (
            number("resourceVersion", state.kubernetes.version())?,
            state.kubernetes.history().cuts(),
            (asked.parameter("allowWatchBookmarks") == "true").then_some(every),
        )
    };
    let ends_at = Instant::now() + Duration::from_secs(number("timeoutSeconds", LONGEST)?);
    let watching = Watching {
        world: world.clone(),
        asked,
        version,
        cuts,
        ends_at,
        bookmark_at: bookmarks.map(|every| Instant::now() + every),
        over: false,
    };
    let body = Body::from_stream(stream::unfold(watching, next));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

type Piece = Result<Bytes, std::io::Error>;

async fn next(mut watching: Watching) -> Option<(Piece, Watching)> {
    loop {
        if watching.over || Instant::now() >= watching.ends_at {
            return None;
        }
        if let Some(piece) = watching.look() {
            return Some((piece, watching));
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Watching {
    /// What there is to say now.
    fn look(&mut self) -> Option<Piece> {
        let world = self.world.clone();
        let state = world.state();
        let cluster = &state.kubernetes;
        if cluster.history().cuts() != self.cuts {
            self.over = true;
            return Some(Err(std::io::Error::other("cut")));
        }
        let Some(changes) = cluster
            .history()
            .since(self.version)
            .filter(|_| self.version <= cluster.version())
        else {
            self.over = true;
            let status = json!({"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410,
                "message": format!("too old resource version: {}", self.version)});
            return Some(Ok(line("ERROR", &status)));
        };
        let mut said = Vec::new();
        for entry in changes {
            self.version = entry.version;
            if entry.plural == self.asked.plural && self.asked.wants(&entry.object) {
                said.extend_from_slice(&line(entry.change.word(), &(self.asked.form)(&entry.object)));
            }
        }
        if let Some(at) = self.bookmark_at.filter(|at| *at <= Instant::now()) {
            let every = Duration::from_millis(cluster.scenario.bookmark_every_ms.max(1));
            self.bookmark_at = Some(at.max(Instant::now()) + every);
            let bookmark = json!({"metadata": {"resourceVersion": self.version.to_string()}});
            said.extend_from_slice(&line("BOOKMARK", &bookmark));
        }
        (!said.is_empty()).then(|| Ok(said.into()))
    }
}

fn line(word: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": word, "object": object})).into()
}

/// A core Event in the form of `events.k8s.io`.
pub(super) fn as_events_k8s_io(event: &Value) -> Value {
    let mut new = json!({
        "kind": "Event",
        "apiVersion": "events.k8s.io/v1",
        "metadata": event["metadata"],
        "eventTime": event["eventTime"],
        "regarding": event["involvedObject"],
        "reason": event["reason"],
        "note": event["message"],
        "type": event["type"],
        "deprecatedFirstTimestamp": event["firstTimestamp"],
        "deprecatedLastTimestamp": event["lastTimestamp"],
        "deprecatedCount": event["count"],
    });
    if event["source"].is_object() {
        new["deprecatedSource"] = event["source"].clone();
    }
    new
}
