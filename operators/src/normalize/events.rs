//! CloudEvents 1.0 (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md>): structured (one object), batch
//! (an array), and binary (attributes in `ce-*` headers, the body is the data). `docs/guides/events.md` says what of
//! the data is understood; the rest is kept in `extra`.

use model::{RawEvent, SignalKind, SignalState};
use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::core::{Draft, Lane};
use super::extra::{Extra, Item, Json};
use super::fault::Fault;
use super::group::{stated, unknown_word};
use super::json::{self, Fields, Member, Pairs, Text, read_array, read_object};
use super::time;

pub const SOURCE: &str = "events";

/// An event in any of the three modes.
pub fn decode(event: &RawEvent, body: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    if binary(event) {
        return from_headers(event, body)?.emit("", lane);
    }
    if body.trim_start().starts_with('[') {
        let events = read_array(body)?;
        lane.elements(body, "", &events, |lane, text| structured(text, lane));
        return Ok(());
    }
    structured(body, lane)
}

/// Whether the attributes are in the headers.
pub fn binary(event: &RawEvent) -> bool {
    !event.content_type.starts_with("application/cloudevents")
        && event.headers.iter().any(|(name, _)| name == "ce-specversion")
}

fn structured(text: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let mut envelope = Envelope::default();
    read_object(text, &mut envelope)?;
    if let Some(data) = envelope.data.filter(|data| data.get().starts_with('{')) {
        read_object(data.get(), &mut envelope.content).map_err(|fault| fault.within("/data", text, data.get()))?;
    } else if let Some(data) = envelope.data {
        envelope.attributes.items.push(Item {
            name: "data".into(),
            json: Json::Raw(data.get()),
            stable: true,
        });
    }
    envelope.emit("/data", lane)
}

fn from_headers<'a>(event: &'a RawEvent, body: &'a str) -> Result<Envelope<'a>, Fault> {
    let mut envelope = Envelope::default();
    for (name, value) in &event.headers {
        let Some(attribute) = name.strip_prefix("ce-") else {
            continue;
        };
        let slot = match attribute {
            "specversion" => &mut envelope.specversion,
            "id" => &mut envelope.id,
            "source" => &mut envelope.source,
            "type" => &mut envelope.kind,
            "subject" => &mut envelope.subject,
            "group" => &mut envelope.group,
            "time" => {
                envelope.time = match time::parse(value) {
                    Some(time::GO_ZERO) => None,
                    Some(at) => Some(at),
                    None => return Err(Fault::new("bad_time", "", "header ce-time is not an RFC 3339 time")),
                };
                continue;
            }
            other => {
                envelope.attributes.items.push(Item {
                    name: other.into(),
                    json: Json::Text(value.into()),
                    stable: true,
                });
                continue;
            }
        };
        if slot.replace(value.into()).is_some() {
            return Err(Fault::new("duplicate_key", "", format!("header {name} is given twice")));
        }
    }
    if !event.content_type.is_empty() {
        envelope.attributes.text("datacontenttype", &*event.content_type, true);
    }
    let json_said = event.content_type.is_empty() || event.content_type.contains("json");
    if json_said && body.trim_start().starts_with('{') {
        read_object(body, &mut envelope.content)?;
    } else if !body.is_empty() {
        envelope.attributes.text("data", body, true);
    }
    Ok(envelope)
}

/// The attributes, and the data where it is an object.
#[derive(Default)]
struct Envelope<'a> {
    specversion: Option<Text<'a>>,
    id: Option<Text<'a>>,
    source: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    subject: Option<Text<'a>>,
    time: Option<i64>,
    group: Option<Text<'a>>,
    data: Option<&'a RawValue>,
    attributes: Extra<'a>,
    content: Content<'a>,
}

impl<'de> Fields<'de> for Envelope<'de> {
    const WHAT: &'static str = "a CloudEvent (an object with `specversion`, `id`, `source`, `type`)";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            "specversion" => member.once(&mut self.specversion, json::text()),
            "id" => member.once(&mut self.id, json::text()),
            "source" => member.once(&mut self.source, json::text()),
            "type" => member.once(&mut self.kind, json::text()),
            "subject" => member.once(&mut self.subject, json::text()),
            "time" => member.once(&mut self.time, json::time()),
            "group" => member.once(&mut self.group, json::text()),
            "data" => member.raw(&mut self.data),
            _ => member.keep(&mut self.attributes, true),
        }
    }
}

/// What we understand of the data.
#[derive(Default)]
struct Content<'a> {
    title: Option<Text<'a>>,
    description: Option<Text<'a>>,
    severity: Option<Text<'a>>,
    status: Option<Text<'a>>,
    service: Option<Text<'a>>,
    environment: Option<Text<'a>>,
    group: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    starts_at: Option<i64>,
    ends_at: Option<i64>,
    labels: Option<Pairs<'a>>,
    annotations: Option<Pairs<'a>>,
    dedup_key: Option<Text<'a>>,
    fingerprint: Option<Text<'a>>,
    rest: Extra<'a>,
}

impl<'de> Fields<'de> for Content<'de> {
    const WHAT: &'static str = "an object";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            "title" => member.last(&mut self.title, json::text()),
            "description" => member.last(&mut self.description, json::text()),
            "severity" => member.once(&mut self.severity, json::text()),
            "status" => member.once(&mut self.status, json::text()),
            "service" => member.once(&mut self.service, json::text()),
            "environment" => member.once(&mut self.environment, json::text()),
            "group" => member.once(&mut self.group, json::text()),
            "kind" => member.once(&mut self.kind, json::text()),
            "starts_at" => member.once(&mut self.starts_at, json::time()),
            "ends_at" => member.once(&mut self.ends_at, json::time()),
            "labels" => member.once(&mut self.labels, json::labels()),
            "annotations" => member.last(&mut self.annotations, json::annotations()),
            "dedup_key" => member.once(&mut self.dedup_key, json::text()),
            "fingerprint" => member.once(&mut self.fingerprint, json::text()),
            _ => member.keep(&mut self.rest, true),
        }
    }
}

impl Envelope<'_> {
    /// `data` is the JSON pointer to the data.
    fn emit(self, data: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
        let Envelope {
            specversion,
            id,
            source,
            kind: kind_of_event,
            subject,
            time,
            group,
            mut attributes,
            mut content,
            ..
        } = self;
        let required = |attribute: Option<&str>, pointer: &str| match attribute.filter(|text| !text.is_empty()) {
            Some(text) => Ok(text.to_owned()),
            None => Err(Fault::missing(pointer, "CloudEvents requires it")),
        };
        let specversion = required(specversion.as_deref(), "/specversion")?;
        if !specversion.starts_with("1.") {
            return Err(unknown_word("/specversion", &specversion, "1.0"));
        }
        let (id, source) = (required(id.as_deref(), "/id")?, required(source.as_deref(), "/source")?);
        let kind_of_event = required(kind_of_event.as_deref(), "/type")?;
        let subject = subject.as_deref().filter(|text| !text.is_empty());
        let filled = |text: &Option<Text<'_>>| text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned);

        let kind = kind_of(content.kind.as_deref(), &kind_of_event, data)?;
        let state = state_of(content.status.as_deref(), kind, data)?;
        let event_at = match content.starts_at.or(time) {
            _ if state == SignalState::Resolved && content.starts_at.is_none() => {
                return Err(Fault::missing(
                    &format!("{data}/starts_at"),
                    "a resolve names the start of what it ends",
                ));
            }
            Some(at) => at,
            None => {
                attributes.text("time_from", "received_at", false);
                lane.observed_at
            }
        };
        let ends_at = (state == SignalState::Resolved).then(|| content.ends_at.or(time).unwrap_or(lane.observed_at));

        let stated_key = filled(&content.dedup_key).or_else(|| filled(&content.fingerprint));
        let (prefix, key, rule): (&[&str], Vec<&str>, &'static str) = match (&stated_key, subject) {
            (Some(key), _) => (&["ce:", &source], vec![key], "events/dedup_key@1"),
            (None, Some(subject)) => (
                &["ce:", &source, ":"],
                vec![&kind_of_event, subject],
                "events/source+type+subject@1",
            ),
            (None, None) => (&["ce:", &source, "::"], vec![&id], "events/source+id@1"),
        };
        // Stated by the sender, or the type with its subject: the labels of an event need not name an alert.
        let title = filled(&content.title).unwrap_or_else(|| match subject {
            Some(subject) => format!("{kind_of_event} {subject}"),
            None => kind_of_event.clone(),
        });

        // The id is new with every delivery of the same statement by another hand; the time is in the row.
        attributes.text("id", id.as_str(), false);
        attributes.text("source", source.as_str(), true);
        attributes.text("type", kind_of_event.as_str(), true);
        if let Some(subject) = subject {
            attributes.text("subject", subject, true);
        }
        if !content.rest.items.is_empty() {
            let mut rest = String::new();
            let max_item = lane.settings.max_signal_bytes as usize / 8;
            content
                .rest
                .push_json(&mut rest, &mut String::new(), max_item)
                .map_err(|fault| fault.at(data))?;
            attributes.made("data", rest, true);
        }
        let (severity, description) = (content.severity, content.description);
        let group = group.or(content.group);
        let draft = Draft {
            source: SOURCE,
            kind,
            state,
            prefix,
            key: &key,
            rule,
            event_at,
            ends_at,
            severity: severity.as_deref(),
            title: Some(&title),
            description: description.as_deref(),
            service: content.service.as_deref().filter(|text| !text.is_empty()),
            environment: content.environment.as_deref().filter(|text| !text.is_empty()),
            group: group.as_deref().filter(|text| !text.is_empty()),
            labels: &content.labels.unwrap_or_default(),
            annotations: &content.annotations.unwrap_or_default(),
            extra: &mut attributes,
        };
        lane.emit(draft, &[SOURCE, " ", &source])
    }
}

/// The data's word, else what the type sounds like.
fn kind_of(word: Option<&str>, kind_of_event: &str, data: &str) -> Result<SignalKind, Fault> {
    if let Some(word) = word {
        let known = "alert, change, security, cluster_event or log_pattern";
        return SignalKind::parse(word).ok_or_else(|| unknown_word(&format!("{data}/kind"), word, known));
    }
    let sounds = |part: &str| kind_of_event.to_ascii_lowercase().contains(part);
    Ok(if sounds("deploy") || sounds("release") {
        SignalKind::Change
    } else {
        SignalKind::Alert
    })
}

/// The data's word; without one it is something that happened. A change has no end to wait for.
fn state_of(word: Option<&str>, kind: SignalKind, data: &str) -> Result<SignalState, Fault> {
    let said = match word {
        Some(word) => {
            stated(word).ok_or_else(|| unknown_word(&format!("{data}/status"), word, "firing, resolved or event"))?
        }
        None => SignalState::Event,
    };
    Ok(if kind == SignalKind::Change {
        SignalState::Event
    } else {
        said
    })
}
