//! Flat JSON, for producers that write to `events.raw` themselves: one object per alert or deployment, no envelope.
//!
//! ```json
//! {"id":"a-1","ts":1760000040000,"fingerprint":"9b…","source":"prometheus","service":"cart","severity":"critical",
//!  "status":"firing","title":"…","labels":{},"annotations":{},"value":0.93,"generatorURL":"…"}
//! {"id":"d-1","ts":1760000040000,"service":"cart","version":"1.4.2","actor":"kim","commit":"60ab…"}
//! ```
//!
//! `ts` is milliseconds since 1970 or an RFC 3339 time. A resolved alert names the start of what it ends (`startsAt`); its
//! end is `endsAt`, else `ts`. A body holds one object, an array of them, or one per line (each line is refused by itself).
//! What has a `fingerprint` is an alert, what has a `service` and a `version` or `commit` is a change.

use std::borrow::Cow;

use model::{SignalKind, SignalState};
use serde::de::MapAccess;

use super::core::{Draft, Lane};
use super::extra::{Extra, Item, Json};
use super::fault::Fault;
use super::group::{stated, unknown_word};
use super::json::{self, Fields, Member, Pairs, Text, read_array, read_object};

pub const SOURCE: &str = "flat";

pub fn decode(body: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    if body.trim_start().starts_with('[') {
        let elements = read_array(body)?;
        lane.elements(body, "", &elements, one);
        return Ok(());
    }
    let mut flat = Flat::default();
    match read_object(body, &mut flat) {
        Ok(()) => flat.emit(lane),
        Err(_) if several_lines(body) => {
            let lines = body.lines().map(str::trim).filter(|line| !line.is_empty());
            for (index, line) in lines.enumerate() {
                if !lane.wants(index) {
                    continue;
                }
                if let Err(fault) = one(lane, line) {
                    lane.refuse(fault, body, "", line);
                }
            }
            Ok(())
        }
        Err(fault) => Err(fault),
    }
}

/// Whether a body that is not one object may be one object per line.
pub fn several_lines(body: &str) -> bool {
    body.trim().lines().skip(1).any(|line| line.starts_with('{'))
}

fn one(lane: &mut Lane<'_, '_>, text: &str) -> Result<(), Fault> {
    let mut flat = Flat::default();
    read_object(text, &mut flat)?;
    flat.emit(lane)
}

#[derive(Default)]
struct Flat<'a> {
    ts: Option<i64>,
    starts_at: Option<i64>,
    ends_at: Option<i64>,
    fingerprint: Option<Text<'a>>,
    source: Option<Text<'a>>,
    service: Option<Text<'a>>,
    severity: Option<Text<'a>>,
    status: Option<Text<'a>>,
    title: Option<Text<'a>>,
    version: Option<Text<'a>>,
    commit: Option<Text<'a>>,
    labels: Option<Pairs<'a>>,
    annotations: Option<Pairs<'a>>,
    extra: Extra<'a>,
}

impl<'de> Fields<'de> for Flat<'de> {
    const WHAT: &'static str = "an alert or a deployment (an object with `ts`)";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            "ts" => member.once(&mut self.ts, json::time_or_millis()),
            "startsAt" => member.once(&mut self.starts_at, json::time_or_millis()),
            "endsAt" => member.once(&mut self.ends_at, json::time_or_millis()),
            "fingerprint" => member.once(&mut self.fingerprint, json::text()),
            "source" => member.once(&mut self.source, json::text()),
            "service" => member.once(&mut self.service, json::text()),
            "severity" => member.once(&mut self.severity, json::text()),
            "status" => member.once(&mut self.status, json::text()),
            "title" => member.last(&mut self.title, json::text()),
            "version" => member.once(&mut self.version, json::text()),
            "commit" => member.once(&mut self.commit, json::text()),
            "labels" => member.once(&mut self.labels, json::labels()),
            "annotations" => member.last(&mut self.annotations, json::annotations()),
            // An alert's id is new with every sending, its value with every evaluation.
            "id" | "value" | "generatorURL" => member.keep(&mut self.extra, false),
            _ => member.keep(&mut self.extra, true),
        }
    }
}

impl Flat<'_> {
    fn emit(mut self, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
        let Some(ts) = self.ts else {
            return Err(Fault::missing("/ts", "it says when it happened"));
        };
        let filled = |text: &Option<Text<'_>>| text.as_deref().is_some_and(|text| !text.is_empty());
        match (
            filled(&self.fingerprint),
            filled(&self.service),
            filled(&self.version) || filled(&self.commit),
        ) {
            (true, ..) => self.emit_alert(ts, lane),
            (false, true, true) => self.emit_change(ts, lane),
            _ => Err(Fault::missing(
                "/fingerprint",
                "it is the alert's identity (a deployment has service and version or commit)",
            )),
        }
    }

    fn emit_alert(&mut self, ts: i64, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
        let state = match self.status.as_deref() {
            None => SignalState::Firing,
            Some(word) => stated(word).ok_or_else(|| unknown_word("/status", word, "firing, resolved or event"))?,
        };
        let event_at = match self.starts_at {
            Some(at) => at,
            None if state == SignalState::Resolved => {
                return Err(Fault::missing("/startsAt", "a resolve names the start of what it ends"));
            }
            None => ts,
        };
        let ends_at = (state == SignalState::Resolved).then(|| self.ends_at.unwrap_or(ts));
        for (name, text) in [
            ("version", &self.version),
            ("commit", &self.commit),
            ("source", &self.source),
        ] {
            if let Some(text) = text {
                self.extra.items.push(Item {
                    name: name.into(),
                    json: Json::Text(text.clone()),
                    stable: true,
                });
            }
        }
        let source = self.source.take().unwrap_or_default();
        let draft = Draft {
            source: SOURCE,
            kind: SignalKind::Alert,
            state,
            prefix: &["flat:", &source],
            key: &[self.fingerprint.as_deref().unwrap_or_default()],
            rule: "flat/fingerprint@1",
            event_at,
            ends_at,
            severity: self.severity.as_deref(),
            title: self.title.as_deref().filter(|text| !text.is_empty()),
            description: None,
            service: self.service.as_deref().filter(|text| !text.is_empty()),
            environment: None,
            group: None,
            labels: &self.labels.take().unwrap_or_default(),
            annotations: &self.annotations.take().unwrap_or_default(),
            extra: &mut self.extra,
        };
        lane.emit(draft, &[SOURCE, " ", &source])
    }

    fn emit_change(&mut self, ts: i64, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
        let (service, version) = (
            self.service.take().unwrap_or_default(),
            self.version.take().unwrap_or_default(),
        );
        let (source, commit) = (
            self.source.take().unwrap_or_default(),
            self.commit.take().unwrap_or_default(),
        );
        let id = self
            .extra
            .items
            .iter()
            .rev()
            .find(|item| item.name == "id")
            .and_then(|item| match item.json {
                Json::Raw(json) if json.starts_with('"') => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
                Json::Raw(json) if json != "null" => Some(Cow::Borrowed(json)),
                _ => None,
            });
        let (key, rule): (Vec<&str>, &'static str) = match &id {
            Some(id) => (vec![&service, id], "flat/service+id@1"),
            None => (vec![&service, &version, &commit], "flat/service+version+commit@1"),
        };
        let title = match self.title.take().filter(|text| !text.is_empty()) {
            Some(title) => title,
            None if version.is_empty() => format!("Deployment of {service} at {commit}").into(),
            None => format!("Deployment of {service} {version}").into(),
        };
        for (name, text) in [("version", &version), ("commit", &commit), ("source", &source)] {
            if !text.is_empty() {
                self.extra.items.push(Item {
                    name: name.into(),
                    json: Json::Text(text.clone()),
                    stable: true,
                });
            }
        }
        let draft = Draft {
            source: SOURCE,
            kind: SignalKind::Change,
            state: SignalState::Event,
            prefix: &["flat:", &source, ":"],
            key: &key,
            rule,
            event_at: ts,
            ends_at: None,
            severity: self.severity.as_deref(),
            title: Some(&title),
            description: None,
            service: Some(&service),
            environment: None,
            group: None,
            labels: &self.labels.take().unwrap_or_default(),
            annotations: &self.annotations.take().unwrap_or_default(),
            extra: &mut self.extra,
        };
        lane.emit(draft, &[SOURCE, " ", &source])
    }
}
