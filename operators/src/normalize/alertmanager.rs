//! Alertmanager: the webhook's version 4 (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>) and
//! what Prometheus posts to `/api/v2/alerts`, an array of alerts.
//!
//! Identity is the fingerprint of the labels; where it is not given it is computed as Prometheus does, so both ways meet in one
//! key `am:FINGERPRINT`. In API form an alert has no status: it is resolved when its `endsAt` is not after the time
//! at which we received it, as Alertmanager itself decides. Else `endsAt` is its term (docs/adr/0030): it fires until then unless it is sent
//! again; without one the term is [`NormalizeSettings::resolve_timeout_s`](super::NormalizeSettings) from when we received it. An alert that
//! does not say when it began is triggered, or cleared: dedupe knows which firing that is about.

use metrics::counter;
use model::{SignalKind, SignalState};

use super::core::{Draft, Lane};
use super::fault::Fault;
use super::group::{Alert, Group};
use super::json::{Pairs, read_array, read_object};

pub const SOURCE: &str = "alertmanager";
/// The dispatcher's name for bodies that came to the API.
pub const API: &str = "alertmanager-api";

/// A notification, or an array of alerts.
pub fn decode(body: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    if body.trim_start().starts_with('[') {
        let alerts = read_array(body)?;
        lane.elements(body, "", &alerts, |lane, alert| api_alert(alert, lane));
        return Ok(());
    }
    let mut group = Group::read(body)?;
    let Some(alerts) = std::mem::take(&mut group.alerts) else {
        return Err(Fault::missing("/alerts", "a notification lists its alerts there"));
    };
    let truncated = group.truncated();
    if truncated > 0 {
        counter!("aegis_truncated_alerts_total", "source" => SOURCE).increment(truncated);
    }
    let (instance, rest) = (group.instance(), group.rest());
    lane.elements(body, "/alerts", &alerts, |lane, text| {
        let mut alert = Alert::default();
        read_object(text, &mut alert)?;
        let state = alert.state()?;
        alert.extra.made("notification", rest.as_str(), false);
        emit(alert, state, &instance, lane)
    });
    Ok(())
}

fn api_alert(text: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let mut alert = Alert {
        api: true,
        ..Alert::default()
    };
    read_object(text, &mut alert)?;
    let ended = alert.ends_at.is_some_and(|end| end <= lane.observed_at);
    let state = match (ended, alert.starts_at) {
        (true, Some(_)) => SignalState::Resolved,
        (true, None) => SignalState::Cleared,
        (false, Some(_)) => SignalState::Firing,
        (false, None) => SignalState::Triggered,
    };
    if !ended && alert.ends_at.is_none() {
        alert.ends_at = lane.settings.resolve_at(lane.observed_at);
    }
    if alert.starts_at.is_none() {
        let said = if ended { alert.ends_at } else { None };
        alert.starts_at = said.or(Some(lane.observed_at));
        alert.extra.text("starts_at_from", "received_at", false);
    }
    emit(alert, state, "", lane)
}

fn emit(mut alert: Alert<'_>, state: SignalState, instance: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let event_at = alert.start()?;
    let ends_at = match state {
        SignalState::Resolved => alert.end(state, lane.observed_at),
        _ if alert.api => alert.ends_at,
        _ => None,
    };
    let labels = alert.labels.unwrap_or_default();
    let annotations = alert.annotations.unwrap_or_default();
    let given = alert
        .fingerprint
        .as_deref()
        .filter(|text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()));
    let (fingerprint, rule) = match given {
        Some(text) => (text.to_ascii_lowercase(), "alertmanager/fingerprint@1"),
        None if labels.iter().all(|(_, value)| value.is_empty()) => {
            return Err(Fault::missing(
                "/labels",
                "without a fingerprint they are the alert's identity",
            ));
        }
        None => (format!("{:016x}", fingerprint(&labels)), rule_of(&labels)),
    };
    let sender = [SOURCE, " ", instance];
    let draft = Draft {
        source: SOURCE,
        kind: SignalKind::Alert,
        state,
        prefix: &["am"],
        key: &[&fingerprint],
        rule,
        event_at,
        ends_at,
        severity: None,
        title: None,
        description: None,
        service: None,
        environment: None,
        group: None,
        labels: &labels,
        annotations: &annotations,
        extra: &mut alert.extra,
    };
    lane.emit(draft, if instance.is_empty() { &sender[..1] } else { &sender })
}

/// Version 1 counted labels without a value, where Alertmanager does not: no two labels sets that have none differ in it.
fn rule_of(labels: &Pairs<'_>) -> &'static str {
    match labels.iter().any(|(_, value)| value.is_empty()) {
        true => "alertmanager/labels@2",
        false => "alertmanager/labels@1",
    }
}

/// The fingerprint of a label set as Prometheus computes it: FNV-1a, 64 bits, over name, 0xff, value, 0xff of every label
/// in the order of names (`labelSetToFingerprint` in <https://github.com/prometheus/common>, model/signature.go). A label without a value
/// is none: Prometheus sends none such, and Alertmanager takes it out of what others send.
fn fingerprint(labels: &Pairs<'_>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash ^= u64::from(*byte);
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    hash
}
