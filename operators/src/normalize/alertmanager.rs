//! Alertmanager: the webhook's version 4 (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>) and
//! what Prometheus posts to `/api/v2/alerts`, an array of alerts, for producers that write it to `events.raw`.
//!
//! Identity is the fingerprint of the labels; where it is not given it is computed as Prometheus does, so both ways meet in one
//! key `am:FINGERPRINT`. In API form an alert has no status: it is resolved when its `endsAt` is not after the time
//! at which we received it, as Alertmanager itself decides.

use metrics::counter;
use model::{SignalKind, SignalState};

use super::core::{Draft, Lane};
use super::fault::Fault;
use super::group::{Alert, Group};
use super::json::{Pairs, read_array, read_object};

pub const SOURCE: &str = "alertmanager";

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
    let state = if ended {
        SignalState::Resolved
    } else {
        SignalState::Firing
    };
    emit(alert, state, "", lane)
}

fn emit(mut alert: Alert<'_>, state: SignalState, instance: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let event_at = alert.start()?;
    let ends_at = alert.end(state, lane.observed_at);
    let labels = alert.labels.unwrap_or_default();
    let annotations = alert.annotations.unwrap_or_default();
    let given = alert
        .fingerprint
        .as_deref()
        .filter(|text| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()));
    let (fingerprint, rule) = match given {
        Some(text) => (text.to_ascii_lowercase(), "alertmanager/fingerprint@1"),
        None if labels.is_empty() => {
            return Err(Fault::missing(
                "/labels",
                "without a fingerprint they are the alert's identity",
            ));
        }
        None => (format!("{:016x}", fingerprint(&labels)), "alertmanager/labels@1"),
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

/// The fingerprint of a label set as Prometheus computes it: FNV-1a, 64 bits, over name, 0xff, value, 0xff of every label
/// in the order of names (`labelSetToFingerprint` in <https://github.com/prometheus/common>, model/signature.go).
fn fingerprint(labels: &Pairs<'_>) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash ^= u64::from(*byte);
            hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for (name, value) in labels.iter() {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    hash
}
