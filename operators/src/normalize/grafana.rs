//! Grafana's unified alerting webhook, version 1
//! (<https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>).
//!
//! Identity is the organisation and the fingerprint. Grafana sends `startsAt` unchanged while
//! an alert fires; `values`, links and images change with every evaluation and are outside the digest.
//!
//! A contact point may have a payload template of its own. A body without a list `alerts` is such a one; so is one of another `version`
//! than 1 when there are rules for it (`[normalize.json.grafana]`), and an alert without a fingerprint: its name is not an identity. They
//! are taken by those rules, or become info signals (`mapper.rs`).

use metrics::counter;
use model::SignalKind;
use serde::de::MapAccess;
use serde_json::value::RawValue;

use super::core::{Draft, Lane};
use super::fault::Fault;
use super::group::{Alert, Group};
use super::json::{Fields, Member, read_object};
use super::mapper::{self, Mappers};

pub const SOURCE: &str = "grafana";

pub fn decode(body: &str, mappers: &Mappers, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    if templated(body, mappers.get(SOURCE).is_some())? {
        return mapper::decode(SOURCE, mappers, body, lane);
    }
    let mut group = Group::read(body)?;
    let Some(alerts) = std::mem::take(&mut group.alerts) else {
        return mapper::decode(SOURCE, mappers, body, lane);
    };
    let truncated = group.truncated();
    if truncated > 0 {
        counter!("aegis_truncated_alerts_total", "source" => SOURCE).increment(truncated);
    }
    let (instance, rest) = (group.instance(), group.rest());
    lane.elements(body, "/alerts", &alerts, |lane, text| {
        let mut alert = Alert::default();
        read_object(text, &mut alert)?;
        if alert.fingerprint.as_deref().is_none_or(str::is_empty) {
            return mapper::notice(SOURCE, text, lane);
        }
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

/// Whether somebody's own template made the body. `rules`: there are rules for such.
fn templated(body: &str, rules: bool) -> Result<bool, Fault> {
    if !body.trim_start().starts_with('{') {
        return Ok(true);
    }
    let mut top = Top::default();
    read_object(body, &mut top)?;
    let own = top.version.is_some_and(|version| version.get() == "\"1\"");
    let listed = top.alerts.is_some_and(|alerts| alerts.get().starts_with('['));
    Ok(!listed || (rules && !own))
}

/// What tells Grafana's own payload.
#[derive(Default)]
struct Top<'a> {
    version: Option<&'a RawValue>,
    alerts: Option<&'a RawValue>,
}

impl<'de> Fields<'de> for Top<'de> {
    const WHAT: &'static str = "a notification (an object with `alerts`)";

    fn member<A: MapAccess<'de>>(&mut self, member: Member<'_, 'de, A>) -> Result<(), A::Error> {
        match member.name() {
            "version" => member.raw(&mut self.version),
            "alerts" => member.raw(&mut self.alerts),
            _ => member.skip(),
        }
    }
}

fn emit(mut alert: Alert<'_>, organisation: &str, instance: &str, lane: &mut Lane<'_, '_>) -> Result<(), Fault> {
    let state = alert.state()?;
    let event_at = alert.start()?;
    let ends_at = alert.end(state, lane.observed_at);
    let fingerprint = alert.fingerprint.as_deref().unwrap_or_default();
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
