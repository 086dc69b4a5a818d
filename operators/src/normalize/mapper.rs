//! JSON of anybody, mapped by rules (`[normalize.json.NAME]`): which value is the state, the severity, the title, the identity.
//! `docs/guides/senders.md` shows them.
//!
//! What the rules name becomes the signal; the whole element is kept in `extra` as `body`, outside the digest. Without rules a body
//! becomes an info signal with the whole of it, known by its content: nothing is guessed, and nothing is lost.
//!
//! Not supported: bodies that are no JSON, several states in one element.

mod rules;

use model::{RawEvent, SignalKind, SignalState};
use serde_json::Value;
use twox_hash::XxHash3_128;

use super::core::{Draft, Lane};
use super::extra::Extra;
use super::fault::Fault;
use super::json::Pairs;
use rules::Mapper;
pub use rules::{MapperSettings, Mappers, TimeUnit};

pub const SOURCE: &str = "json";

/// The mapper that a body was sent to: `aegis-sender` is `json/NAME`.
pub fn name_of(event: &RawEvent) -> &str {
    event.sender.strip_prefix("json/").unwrap_or_default()
}

/// Takes a body by the rules of `name`; without such rules as it is.
pub fn decode(name: &str, mappers: &Mappers, body: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let Some(mapper) = mappers.get(name) else {
        return notice(name, body, lane);
    };
    let document = parse(body)?;
    let elements = match &mapper.each {
        None => return mapped(name, mapper, &document, body, lane),
        Some(each) => each.all(&document),
    };
    for (index, element) in elements.into_iter().enumerate() {
        if !lane.wants(index) {
            continue;
        }
        let text = element.to_string();
        if let Err(fault) = mapped(name, mapper, element, &text, lane) {
            lane.refuse(fault, body, "", body);
        }
    }
    Ok(())
}

/// The body as an info signal.
pub fn notice(name: &str, body: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    parse(body)?;
    let hash = hash(body);
    let mut extra = Extra::default();
    extra.raw("body", body, false);
    let title = match name {
        "" => "JSON without rules".to_owned(),
        name => format!("JSON of {name}, without rules"),
    };
    let draft = Draft {
        source: SOURCE,
        kind: SignalKind::Alert,
        state: SignalState::Event,
        prefix: &["json"],
        key: &[name, &hash],
        rule: "json/body@1",
        event_at: lane.observed_at,
        ends_at: None,
        severity: Some("info"),
        title: Some(&title),
        description: None,
        service: None,
        environment: None,
        group: None,
        labels: &Pairs::default(),
        annotations: &Pairs::default(),
        extra: &mut extra,
    };
    lane.emit(draft, &[SOURCE, " ", name])
}

fn mapped(name: &str, mapper: &Mapper, element: &Value, text: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let state = mapper.state(element)?;
    let at = mapper.time("at", element)?.unwrap_or(lane.observed_at);
    let starts_at = mapper.time("starts_at", element)?;
    let ends_at = mapper.time("ends_at", element)?;
    let (state, event_at, ends_at) = match (state, starts_at) {
        (SignalState::Firing, Some(start)) => (SignalState::Firing, start, None),
        (SignalState::Firing, None) => (SignalState::Triggered, at.min(lane.observed_at), None),
        (SignalState::Resolved, Some(start)) => (SignalState::Resolved, start, Some(ends_at.unwrap_or(at))),
        (SignalState::Resolved, None) => {
            let end = ends_at.unwrap_or(at).min(lane.observed_at);
            (SignalState::Cleared, end, Some(end))
        }
        (SignalState::Acknowledged, _) => (SignalState::Acknowledged, at.min(lane.observed_at), None),
        (other, _) => (other, starts_at.unwrap_or(at), None),
    };
    let identity = mapper.identity(element)?;
    let by_body = identity.is_empty();
    let parts: Vec<String> = if by_body { vec![hash(text)] } else { identity };
    let mut key: Vec<&str> = vec![name];
    key.extend(parts.iter().map(String::as_str));
    let rule = if by_body {
        "json/body@1".to_owned()
    } else {
        mapper.rule(name)
    };
    let said = |field| mapper.text(field, element);
    let title = said("title").unwrap_or_else(|| match by_body {
        true => format!("JSON of {name}"),
        false => format!("{name} {}", parts.join(" ")),
    });
    let (severity, description) = (said("severity"), said("description"));
    let (service, environment, group) = (said("service"), said("environment"), said("group"));
    let labels = mapper.labels(element);
    let mut extra = Extra::default();
    extra.raw("body", text, false);
    let draft = Draft {
        source: SOURCE,
        kind: mapper.kind,
        state,
        prefix: &["json"],
        key: &key,
        rule: &rule,
        event_at,
        ends_at,
        severity: severity.as_deref(),
        title: Some(&title),
        description: description.as_deref(),
        service: service.as_deref(),
        environment: environment.as_deref(),
        group: group.as_deref(),
        labels: &Pairs::owned(labels.into_iter().collect()),
        annotations: &Pairs::default(),
        extra: &mut extra,
    };
    lane.emit(draft, &[SOURCE, " ", name])
}

fn parse(body: &str) -> Result<Value, Fault> {
    serde_json::from_str(body).map_err(|error| Fault::json(&error, &super::json::Trail::default()))
}

fn hash(text: &str) -> String {
    format!("{:032x}", XxHash3_128::oneshot(text.as_bytes()))
}
