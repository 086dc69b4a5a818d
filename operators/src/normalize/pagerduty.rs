//! PagerDuty's Events API v2 (<https://developer.pagerduty.com/docs/events-api-v2-overview>): trigger, acknowledge, resolve, and change
//! events.
//!
//! An event names its alert (`dedup_key`) and no firing; dedupe decides which firing it is about (docs/adr/0031). Keys belong to the
//! integration whose routing key was sent; the dispatcher names it in [`INTEGRATION`] and takes the routing key out of the body. What
//! `custom_details`, links and images say moves with every event and is outside the digest.
//!
//! A trigger happened at its `timestamp`, but not after we received it; acknowledgements and resolves have no time but that.

use std::borrow::Cow;

use model::{RawEvent, SignalKind, SignalState};
use serde::de::MapAccess;
use serde_json::value::RawValue;
use twox_hash::XxHash3_128;

use super::core::{Draft, Lane};
use super::extra::Extra;
use super::fault::Fault;
use super::group::unknown_word;
use super::json::{self, Fields, Member, Pairs, Text, read_object};
use super::time;

pub const SOURCE: &str = "pagerduty";
/// The dispatcher's name for bodies that came as change events.
pub const CHANGES: &str = "pagerduty-change";
/// Header that names the integration.
pub const INTEGRATION: &str = "aegis-integration";

pub fn decode(event: &RawEvent, body: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let mut sent = Event::default();
    read_object(body, &mut sent)?;
    let mut payload = Payload::default();
    if let Some(raw) = sent.payload {
        read_object(raw.get(), &mut payload).map_err(|fault| fault.within("/payload", body, raw.get()))?;
    }
    let named = event.headers.iter().find(|(name, _)| name == INTEGRATION);
    let integration = named.map_or("", |(_, value)| value.as_str());
    let about = About {
        integration,
        details: payload.details(),
        at: payload.at()?.map_or(lane.observed_at, |at| at.min(lane.observed_at)),
    };
    match sent.action.as_deref() {
        None => change(&about, sent, payload, lane),
        Some("trigger") => alert(SignalState::Triggered, &about, event, sent, payload, lane),
        Some("acknowledge") => alert(SignalState::Acknowledged, &about, event, sent, payload, lane),
        Some("resolve") => alert(SignalState::Cleared, &about, event, sent, payload, lane),
        Some(other) => Err(unknown_word(
            "/event_action",
            other,
            "trigger, acknowledge or resolve (a change event has none)",
        )),
    }
}

/// What an event is about, beside its texts.
struct About<'a> {
    integration: &'a str,
    details: Details,
    at: i64,
}

impl About<'_> {
    fn service<'s>(&'s self, component: Option<&'s str>) -> Option<&'s str> {
        let named = Some(self.integration).filter(|name| !name.is_empty());
        self.details.service.as_deref().or(named).or(component)
    }
}

#[derive(Default)]
struct Details {
    service: Option<String>,
    environment: Option<String>,
}

fn alert<'a>(
    state: SignalState,
    about: &About<'_>,
    event: &RawEvent,
    mut sent: Event<'a>,
    payload: Payload<'a>,
    lane: &mut Lane<'_, '_>,
) -> Result<(), Fault> {
    let stated = sent.dedup_key.take().filter(|key| !key.is_empty());
    let summary = payload.summary.as_deref().filter(|text| !text.is_empty());
    let (key, rule) = match stated {
        Some(key) => (key.into_owned(), "pagerduty/dedup_key@1"),
        None if state == SignalState::Triggered => (key_of(event), "pagerduty/delivery@1"),
        None => return Err(Fault::missing("/dedup_key", "it says which alert is meant")),
    };
    if state == SignalState::Triggered && summary.is_none() {
        return Err(Fault::missing("/payload/summary", "a trigger says what is wrong"));
    }
    let labels = payload.labels(about.integration, sent.client.as_deref());
    let title = summary.unwrap_or(&key).to_owned();
    let severity = payload.severity.as_deref().map(str::to_owned);
    let component = payload.component.as_deref().filter(|text| !text.is_empty());
    let service = about.service(component).map(str::to_owned);
    sent.extra.items.extend(payload.rest.items);
    let draft = Draft {
        source: SOURCE,
        kind: SignalKind::Alert,
        state,
        prefix: &["pd"],
        key: &[about.integration, &key],
        rule,
        event_at: about.at,
        ends_at: (state == SignalState::Cleared).then_some(about.at),
        severity: severity.as_deref(),
        title: Some(&title),
        description: None,
        service: service.as_deref(),
        environment: about.details.environment.as_deref(),
        group: None,
        labels: &labels,
        annotations: &Pairs::default(),
        extra: &mut sent.extra,
    };
    lane.emit(draft, &[SOURCE, " ", about.integration])
}

fn change<'a>(
    about: &About<'_>,
    mut sent: Event<'a>,
    payload: Payload<'a>,
    lane: &mut Lane<'_, '_>,
) -> Result<(), Fault> {
    let Some(summary) = payload.summary.as_deref().filter(|text| !text.is_empty()) else {
        return Err(Fault::missing(
            "/payload/summary",
            "a change says what was changed (an alert has `event_action`)",
        ));
    };
    let summary = summary.to_owned();
    let source = payload.source.as_deref().unwrap_or_default().to_owned();
    let said_at = payload.timestamp.as_deref().unwrap_or_default();
    let mut said = String::new();
    for part in [&summary, source.as_str(), said_at] {
        said.push_str(part);
        said.push('\0');
    }
    let key = hex(said.as_bytes());
    let labels = payload.labels(about.integration, sent.client.as_deref());
    let service = about.service(Some(&source).filter(|text| !text.is_empty()).map(String::as_str));
    let service = service.map(str::to_owned);
    sent.extra.items.extend(payload.rest.items);
    let draft = Draft {
        source: SOURCE,
        kind: SignalKind::Change,
        state: SignalState::Event,
        prefix: &["pd-change"],
        key: &[about.integration, &key],
        rule: "pagerduty/change@1",
        event_at: about.at,
        ends_at: None,
        severity: None,
        title: Some(&summary),
        description: None,
        service: service.as_deref(),
        environment: about.details.environment.as_deref(),
        group: None,
        labels: &labels,
        annotations: &Pairs::default(),
        extra: &mut sent.extra,
    };
    lane.emit(draft, &[SOURCE, " ", about.integration])
}

/// The key of a trigger that names none: what the dispatcher answered, the first half of the delivery's name.
fn key_of(event: &RawEvent) -> String {
    match event.delivery.get(..32) {
        Some(name) => name.to_owned(),
        None => hex(&event.body),
    }
}

fn hex(bytes: &[u8]) -> String {
    format!("{:032x}", XxHash3_128::oneshot(bytes))
}

#[derive(Default)]
struct Event<'a> {
    action: Option<Text<'a>>,
    dedup_key: Option<Text<'a>>,
    payload: Option<&'a RawValue>,
    client: Option<Text<'a>>,
    extra: Extra<'a>,
}

impl<'de> Fields<'de> for Event<'de> {
    const WHAT: &'static str = "an event (an object with `event_action`, or with `payload`)";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            // Of a producer that wrote to the log itself.
            "routing_key" => member.skip(),
            "event_action" => member.once(&mut self.action, json::text()),
            "dedup_key" => member.once(&mut self.dedup_key, json::text()),
            "payload" => member.raw(&mut self.payload),
            "client" => member.last(&mut self.client, json::text()),
            _ => member.keep(&mut self.extra, false),
        }
    }
}

#[derive(Default)]
struct Payload<'a> {
    summary: Option<Text<'a>>,
    source: Option<Text<'a>>,
    severity: Option<Text<'a>>,
    timestamp: Option<Text<'a>>,
    component: Option<Text<'a>>,
    group: Option<Text<'a>>,
    class: Option<Text<'a>>,
    rest: Extra<'a>,
}

impl<'de> Fields<'de> for Payload<'de> {
    const WHAT: &'static str = "an object";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            "summary" => member.once(&mut self.summary, json::text()),
            "source" => member.once(&mut self.source, json::text()),
            "severity" => member.once(&mut self.severity, json::text()),
            "timestamp" => member.once(&mut self.timestamp, json::text()),
            "component" => member.last(&mut self.component, json::text()),
            "group" => member.last(&mut self.group, json::text()),
            "class" => member.last(&mut self.class, json::text()),
            _ => member.keep(&mut self.rest, false),
        }
    }
}

impl Payload<'_> {
    fn at(&self) -> Result<Option<i64>, Fault> {
        let Some(text) = self.timestamp.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let at = time::parse(text).or_else(|| time::parse(&with_colon(text)?));
        let at = at.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            let detail = format!("{shown:?} is not an ISO 8601 time such as 2026-11-23T08:48:26.002+0000");
            Fault::new("bad_time", "/payload/timestamp", detail)
        })?;
        Ok(Some(at).filter(|at| *at != time::GO_ZERO))
    }

    fn labels(&self, integration: &str, client: Option<&str>) -> Pairs<'static> {
        let said = [
            ("source", self.source.as_deref()),
            ("component", self.component.as_deref()),
            ("group", self.group.as_deref()),
            ("class", self.class.as_deref()),
            ("integration", Some(integration)),
            ("client", client),
        ];
        let filled = said.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Pairs::made(
            filled
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name, value.to_owned()))
                .collect(),
        )
    }

    /// What `custom_details` says of where the event belongs. It may be anything.
    fn details(&self) -> Details {
        let raw = self.rest.items.iter().rev().find(|item| item.name == "custom_details");
        let Some(super::extra::Json::Raw(json)) = raw.map(|item| &item.json) else {
            return Details::default();
        };
        let Ok(serde_json::Value::Object(said)) = serde_json::from_str(json) else {
            return Details::default();
        };
        let text = |name: &str| {
            said.get(name)?
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        Details {
            service: text("service"),
            environment: text("environment"),
        }
    }
}

/// `…+0000`, as PagerDuty's own examples write it, with the colon of RFC 3339.
fn with_colon(text: &str) -> Option<Cow<'_, str>> {
    let at = text.len().checked_sub(5)?;
    let (time, offset) = text.split_at_checked(at)?;
    let signed = offset.starts_with(['+', '-']) && offset[1..].bytes().all(|byte| byte.is_ascii_digit());
    signed.then(|| Cow::Owned(format!("{time}{}:{}", &offset[..3], &offset[3..])))
}
