//! Grafana's unified alerting webhook, version 1
//! (<https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>).
//!
//! Identity is the organisation and the fingerprint. An alert without a fingerprint is refused: its name is not an
//! identity, and a contact point with a custom payload must keep the field. Grafana sends `startsAt` unchanged while
//! an alert fires; `values`, links and images change with every evaluation and are outside the digest.

use metrics::counter;
use model::SignalKind;

use super::core::{Draft, Lane};
use super::fault::Fault;
use super::group::{Alert, Group};
use super::json::read_object;

pub const SOURCE: &str = "grafana";

pub fn decode(body: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let mut group = Group::read(body)?;
    let Some(alerts) = std::mem::take(&mut group.alerts) else {
        return Err(Fault::missing(
            "/alerts",
            "a notification lists its alerts there; a custom payload must keep it",
        ));
    };
    let truncated = group.truncated();
    if truncated > 0 {
        counter!("aegis_truncated_alerts_total", "source" => SOURCE).increment(truncated);
    }
    let (instance, rest) = (group.instance(), group.rest());
    lane.elements(body, "/alerts", &alerts, |lane, text| {
        let mut alert = Alert::default();
        read_object(text, &mut alert)?;
        // An old Grafana without organisations has one, without a number.
        let organisation = alert
            .org_id
            .or(group.org_id)
            .map(|id| id.to_string())
            .unwrap_or_default();
        alert.extra.made("notification", rest.as_str(), false);
        emit(alert, &organisation, &instance, lane)
    });
    Ok(())
}

fn emit(mut alert: Alert<'_>, organisation: &str, instance: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let state = alert.state()?;
    let event_at = alert.start()?;
    let ends_at = alert.end(state, lane.observed_at);
    let Some(fingerprint) = alert.fingerprint.as_deref().filter(|text| !text.is_empty()) else {
        return Err(Fault::missing(
            "/fingerprint",
            "it is the alert's identity; a custom payload must keep it",
        ));
    };
    let draft = Draft {
        source: SOURCE,
        kind: SignalKind::Alert,
        state,
        prefix: &["gf"],
        key: &[organisation, fingerprint],
        rule: "grafana/fingerprint@1",
        event_at,
        ends_at,
        severity: None,
        title: None,
        description: None,
        service: None,
        environment: None,
        group: None,
        labels: &alert.labels.unwrap_or_default(),
        annotations: &alert.annotations.unwrap_or_default(),
        extra: &mut alert.extra,
    };
    lane.emit(draft, &[SOURCE, " ", organisation, " ", instance])
}
