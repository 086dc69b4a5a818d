//! Normalize: raw bodies become signals.
//!
//! Guarantees
//! * Nothing is dropped silently: every element of a body becomes one signal or one dead letter that names the field, and a
//!   faulty element does not take its neighbours with it.
//! * The same bytes, received at the same time, give the same signals: no clock, no state, no hash order.
//! * Identity never falls back to a name. `dedup_rule` says how the key was made, with a version.
//! * `digest` covers what the sender said about the alert: labels, annotations, severity, texts, state, start, end, unknown
//!   members. Outside it are the receive time, measured values, links, images, ids of deliveries, and the notification
//!   around the alert, so a repeat is a repeat.
//!
//! It does not verify signatures (the dispatcher has), and it keeps no memory: repeats are dedupe's.
//!
//! Refusals: `malformed_json`, `invalid_utf8`, `unknown_shape`, `unknown_sender`, `wrong_type`, `missing_field`, `bad_value`, `bad_time`,
//! `duplicate_key`, `too_large`, `too_deep`.

mod alertmanager;
mod canonical;
mod core;
mod events;
mod extra;
mod fault;
mod flat;
mod github;
mod grafana;
mod group;
mod json;
mod kubernetes;
mod mapper;
mod pagerduty;
mod settings;
mod shape;
mod time;

use model::{Origin, RawEvent, dead_letter};
use stream::{Context, Operator, Record, Reject, TopicPartition};

use self::core::{Lane, Scratch};
use self::fault::Fault;
use self::shape::Sender;
use crate::signals_out::SignalsOut;

pub use mapper::{MapperSettings, TimeUnit};
pub use settings::NormalizeSettings;

use mapper::Mappers;

/// The first stage. Reads `events.raw`, writes `signals` keyed by dedup key.
#[derive(Debug, Default)]
pub struct Normalize {
    settings: NormalizeSettings,
    mappers: Mappers,
    scratch: Scratch,
}

/// A raw event and where it stands.
#[derive(Clone, Debug)]
pub struct RawInput {
    pub event: RawEvent,
    pub origin: Origin,
    /// The elements to take; empty: all. The body is one sent again, and the others were taken the first time.
    pub only: Vec<u32>,
}

impl Normalize {
    pub fn new(settings: NormalizeSettings) -> Self {
        Normalize {
            mappers: Mappers::new(&settings.json),
            settings,
            scratch: Scratch::default(),
        }
    }
}

impl Operator for Normalize {
    type In = RawInput;
    type Out = SignalsOut;

    fn name(&self) -> &'static str {
        "normalize"
    }

    fn logic_version(&self) -> u32 {
        1
    }

    /// Takes any record; what is wrong with its body is found in [`Operator::on_batch`], which decodes straight into rows.
    fn decode(&self, record: &Record, from: &TopicPartition) -> Result<RawInput, Reject> {
        Ok(RawInput {
            event: RawEvent::from_record(&record.headers, record.value.clone(), record.timestamp.0),
            origin: Origin {
                partition: from.partition,
                offset: record.offset.0,
                index: 0,
            },
            only: items_of(record),
        })
    }

    fn on_batch(&mut self, input: &RawInput, cx: &mut Context<'_, SignalsOut>) {
        cx.accounting().bodies += 1;
        let mut lane = Lane {
            settings: &self.settings,
            scratch: &mut self.scratch,
            cx,
            origin: input.origin,
            observed_at: input.event.received_at,
            only: &input.only,
        };
        let body = match text_of(&input.event.body) {
            Ok(body) => body,
            Err(fault) => return lane.cx.reject(fault.into_reject(None, "", "", "")),
        };
        if let Err(fault) = decode(&input.event, body, &self.mappers, &mut lane) {
            lane.cx.reject(fault.into_reject(None, "", body, body));
        }
    }
}

/// A fault is one of the whole body: no element of it was emitted.
fn decode(event: &RawEvent, body: &str, mappers: &Mappers, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    match shape::sender_of(event, body)? {
        Sender::Alertmanager => alertmanager::decode(body, lane),
        Sender::Grafana => grafana::decode(body, mappers, lane),
        Sender::Github => github::decode(event, body, lane),
        Sender::Kubernetes => kubernetes::decode(event, body, lane),
        Sender::Events => events::decode(event, body, lane),
        Sender::Flat => flat::decode(body, lane),
        Sender::Pagerduty => pagerduty::decode(event, body, lane),
        Sender::Json => mapper::decode(mapper::name_of(event), mappers, body, lane),
    }
}

/// The elements that a body which is sent again was sent for. A list that cannot be read is none: to take an element twice
/// is a repeat, to leave one out would lose it.
fn items_of(record: &Record) -> Vec<u32> {
    let listed = record.header(dead_letter::header::ITEMS);
    let read = listed.and_then(|list| {
        let items = std::str::from_utf8(list).ok()?.split(',');
        items.map(|item| item.trim().parse().ok()).collect()
    });
    read.unwrap_or_default()
}

/// The body as text, without a byte order mark.
fn text_of(body: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(body).map_err(|e| {
        Fault::new(
            "invalid_utf8",
            "",
            format!("byte {} of the body does not belong to UTF-8 text", e.valid_up_to()),
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
