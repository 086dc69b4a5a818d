//! The top level of a Grafana message. A contact point's own payload template may make any JSON of it, so nothing is asked for but that; what
//! it means is for `operators::normalize::grafana` to say.

use crate::webhook::problem::Refusal;
use crate::webhook::shape::{self, Object};

/// Refuses what is no JSON, and what another endpoint is for.
pub fn check(body: &[u8]) -> Result<(), Refusal> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return shape::valid(body);
    }
    let top = Object::read(body)?;
    if top.get("alerts").is_some() && top.string("version").as_deref() == Some("4") {
        let refusal = Refusal::bad("wrong-endpoint", "this is an Alertmanager message (version 4)");
        return Err(refusal
            .field("version")
            .place("/version")
            .remedy("send it to /webhooks/alertmanager"));
    }
    Ok(())
}
