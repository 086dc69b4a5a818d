//! The top level of a Grafana message.

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

const REMEDY: &str = "use Grafana's default webhook payload, or keep `alerts` in a custom one";

/// Refuses what is no Grafana message.
pub fn check(body: &[u8]) -> Result<(), Refusal> {
    let top = Object::read(body)?;
    top.check(FIELDS, REMEDY)?;
    if top.string("version").as_deref() == Some("4") {
        let refusal = Refusal::bad("wrong-endpoint", "this is an Alertmanager message (version 4)");
        return Err(refusal
            .field("version")
            .place("/version")
            .remedy("send it to /webhooks/alertmanager"));
    }
    Ok(())
}
