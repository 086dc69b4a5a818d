//! The top level of what is pushed: an object with a kind, or an array.

use crate::webhook::problem::Refusal;
use crate::webhook::shape::{self, Field, Kind, Object};

const FIELDS: &[Field] = &[
    Field::optional("kind", Kind::String),
    Field::optional("apiVersion", Kind::String),
    Field::optional("metadata", Kind::Object),
    Field::optional("items", Kind::Array),
];

/// Members of which one must be there.
const TELLING: &[&str] = &["kind", "items", "involvedObject", "regarding", "object"];

const REMEDY: &str =
    "send an Event, a Deployment, a StatefulSet, a DaemonSet, or a list of them, as the API server gives them";

/// Refuses what is no object of Kubernetes.
pub fn check(body: &[u8]) -> Result<(), Refusal> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return shape::array(body);
    }
    let top = Object::read(body)?;
    top.check(FIELDS, REMEDY)?;
    if top.string("kind").is_some_and(|kind| kind == "AdmissionReview") {
        let detail = "an AdmissionReview waits for an answer that says yes or no, and this endpoint decides nothing";
        let refusal = Refusal::bad("wrong-endpoint", detail).field("kind").place("/kind");
        return Err(refusal.remedy(REMEDY));
    }
    if TELLING.iter().all(|name| top.get(name).is_none()) {
        let refusal = Refusal::bad(
            "missing-field",
            "there is neither `kind` nor `items`, `involvedObject` or `regarding`",
        );
        return Err(refusal.field("kind").place("/kind").remedy(REMEDY));
    }
    Ok(())
}
