//! Signals in a line of text. Times are seconds of event time.
//!
//! ```text
//! fire api @100 warning svc=shop grp=g text=2     the alert `api` fires since 100; `text` stands for its content
//! end  api @100 until=160                         … and ended at 160
//! fire api @100 until=400                         … and fires until 400 unless that is said again
//! trigger api @100, ack api @110, clear api @160  the same without a word on which firing is meant
//! note pod @50 kind=security                      an event, which has no end
//! time 400                                        the watermark
//! ```

#![allow(dead_code)] // Each test file uses a part of it.

use model::{Origin, Severity, Signal, SignalId, SignalKind, SignalState};

const SECOND: i64 = 1_000_000;

pub enum Line {
    Signal(Box<Signal>),
    Time(i64),
}

pub fn lines(text: &str) -> Vec<Line> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(line)
        .collect()
}

/// Only the signals.
pub fn signals(text: &str) -> Vec<Signal> {
    let signal = |line| match line {
        Line::Signal(signal) => Some(*signal),
        Line::Time(_) => None,
    };
    lines(text).into_iter().filter_map(signal).collect()
}

pub fn signal(text: &str) -> Signal {
    signals(text).remove(0)
}

fn line(text: &str) -> Line {
    let mut words = text.split_whitespace();
    let (verb, name) = (words.next().unwrap(), words.next().unwrap());
    if verb == "time" {
        return Line::Time(name.parse().unwrap());
    }
    let state = match verb {
        "fire" => SignalState::Firing,
        "end" => SignalState::Resolved,
        "note" => SignalState::Event,
        "trigger" => SignalState::Triggered,
        "ack" => SignalState::Acknowledged,
        "clear" => SignalState::Cleared,
        other => panic!("{other}: neither fire, end, note, trigger, ack, clear nor time"),
    };
    let mut spec = Spec::new(state, name, 0);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("critical" | "warning" | "info", "") => spec.severity = word.parse().unwrap(),
            ("until", at) => spec.until = Some(at.parse().unwrap()),
            ("kind", kind) => spec.kind = SignalKind::parse(kind).unwrap(),
            ("svc", service) => spec.service = Some(service.to_owned()),
            ("env", environment) => spec.environment = environment.to_owned(),
            ("grp", group) => spec.group = Some(group.to_owned()),
            ("text", content) => spec.text = content.parse().unwrap(),
            (at, "") => spec.at = at.strip_prefix('@').unwrap_or_else(|| panic!("{at}?")).parse().unwrap(),
            other => panic!("{other:?}?"),
        }
    }
    Line::Signal(Box::new(spec.signal()))
}

/// What a signal is made of; equal specs make equal signals.
#[derive(Clone, Debug)]
pub struct Spec {
    pub state: SignalState,
    pub name: String,
    pub at: i64,
    pub until: Option<i64>,
    pub kind: SignalKind,
    pub severity: Severity,
    pub service: Option<String>,
    pub group: Option<String>,
    pub environment: String,
    pub text: u64,
}

impl Spec {
    pub fn new(state: SignalState, name: &str, at: i64) -> Self {
        Spec {
            state,
            name: name.to_owned(),
            at,
            until: None,
            kind: SignalKind::Alert,
            severity: Severity::Warning,
            service: None,
            group: None,
            environment: "prod".to_owned(),
            text: 0,
        }
    }

    pub fn signal(&self) -> Signal {
        let id = SignalId::of(&[format!("{self:?}").as_bytes()]);
        // As in normalize: neither a term nor the time of what names no firing is content.
        let names_no_firing = matches!(
            self.state,
            SignalState::Triggered | SignalState::Cleared | SignalState::Acknowledged
        );
        let content = Spec {
            at: if names_no_firing { 0 } else { self.at },
            until: self.until.filter(|_| self.state == SignalState::Resolved),
            ..self.clone()
        };
        let digest = SignalId::of(&[format!("{content:?}").as_bytes()]);
        let event_at = self.at * SECOND;
        let until = self
            .until
            .or(Some(self.at).filter(|_| self.state == SignalState::Cleared));
        let ends_at = until.map(|until| until * SECOND);
        let end = ends_at.filter(|_| matches!(self.state, SignalState::Resolved | SignalState::Cleared));
        Signal {
            id,
            tenant: "default".into(),
            environment: self.environment.clone(),
            source: "test".into(),
            kind: self.kind,
            state: self.state,
            dedup_key: self.name.clone(),
            dedup_rule: "test@1".into(),
            event_at,
            observed_at: event_at + SECOND,
            effective_at: end.unwrap_or(event_at),
            ends_at,
            severity: self.severity,
            title: format!("{} text {}", self.name, self.text),
            description: None,
            service: self.service.clone(),
            cluster: None,
            namespace: None,
            group: self.group.clone(),
            labels: "{\"a\":\"b\"}".into(),
            annotations: "{}".into(),
            extra: None,
            digest: digest.0.as_u128() as u64,
            origin: Origin::default(),
            transition: None,
        }
    }
}
