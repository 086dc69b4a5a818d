//! The top level of an Alertmanager message. Only `alerts` is asked for: since 0.32 the payload may be templated.

use crate::webhook::problem::Refusal;
use crate::webhook::shape::{Field, Kind, Object};

const FIELDS: &[Field] = &[
    Field::required("alerts", Kind::Array),
    Field::optional("version", Kind::String),
    Field::optional("status", Kind::String),
    Field::optional("groupLabels", Kind::Object),
    Field::optional("commonLabels", Kind::Object),
    Field::optional("commonAnnotations", Kind::Object),
];

const REMEDY: &str = "send Alertmanager's webhook message (version 4) without a custom payload template";

/// Refuses what is no Alertmanager message.
pub fn check(body: &[u8]) -> Result<(), Refusal> {
    let top = Object::read(body)?;
    top.check(FIELDS, REMEDY)?;
    if top.string("version").as_deref() == Some("1") {
        // Would decode, and lose Grafana's own fields without a word.
        let refusal = Refusal::bad("wrong-endpoint", "this is a Grafana message (version 1)");
        return Err(refusal
            .field("version")
            .place("/version")
            .remedy("send it to /webhooks/grafana"));
    }
    Ok(())
}
