//! The top level of an event of GitHub's: an object. What else it holds differs by event.

use crate::webhook::problem::Refusal;
use crate::webhook::shape::{Field, Kind, Object};

const FIELDS: &[Field] = &[
    Field::optional("action", Kind::String),
    Field::optional("repository", Kind::Object),
    Field::optional("organization", Kind::Object),
    Field::optional("sender", Kind::Object),
];

const REMEDY: &str = "send the event as GitHub made it";

/// Refuses what is no event.
pub fn check(body: &[u8]) -> Result<(), Refusal> {
    let top = Object::read(body)?;
    top.check(FIELDS, REMEDY)?;
    if top.get("alerts").is_some() && top.get("repository").is_none() {
        let refusal = Refusal::bad("wrong-endpoint", "this is a notification of Alertmanager or Grafana");
        return Err(refusal
            .field("alerts")
            .place("/alerts")
            .remedy("send it to /webhooks/alertmanager or /webhooks/grafana"));
    }
    Ok(())
}
