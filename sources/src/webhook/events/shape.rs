//! In which of the three modes a request comes, and whether its required attributes are there. In a batch the single
//! events are not looked at: one bad event must not refuse its neighbours.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};

use crate::webhook::problem::Refusal;
use crate::webhook::shape::{self, Field, Kind, Object};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

const ATTRIBUTES: &[Field] = &[
    Field::required("specversion", Kind::String),
    Field::required("id", Kind::String),
    Field::required("source", Kind::String),
    Field::required("type", Kind::String),
];

const REMEDY: &str = "send specversion, id, source and type as CloudEvents 1.0 requires";

/// Refuses what is no CloudEvent.
pub fn check(headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    let media_type = media_type(headers);
    match media_type.as_str() {
        STRUCTURED => structured(body),
        BATCH => shape::array(body),
        other if other.starts_with("application/cloudevents") => {
            let detail = format!("event format `{other}` is not supported");
            let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-format", detail);
            Err(refusal
                .place("header content-type")
                .remedy(format!("send `{STRUCTURED}` or `{BATCH}`, or binary mode")))
        }
        other => binary(headers, other, body),
    }
}

fn structured(body: &[u8]) -> Result<(), Refusal> {
    let event = Object::read(body)?;
    event.check(ATTRIBUTES, REMEDY)?;
    for attribute in ATTRIBUTES {
        let value = event.string(attribute.name).unwrap_or_default();
        attribute_value(attribute.name, &value, format!("/{}", attribute.name))?;
    }
    Ok(())
}

fn binary(headers: &HeaderMap, media_type: &str, body: &[u8]) -> Result<(), Refusal> {
    if !headers.keys().any(|name| name.as_str().starts_with("ce-")) {
        let detail = match media_type {
            "" => "there is neither a content type of CloudEvents nor a `ce-` header".to_owned(),
            other => format!("`{other}` is not a content type of CloudEvents and there is no `ce-` header"),
        };
        let refusal = Refusal::bad("not-cloudevents", detail).place("header content-type");
        return Err(refusal.remedy(format!(
            "send `Content-Type: {STRUCTURED}` (or `{BATCH}`), or binary mode"
        )));
    }
    for attribute in ATTRIBUTES {
        let name = format!("ce-{}", attribute.name);
        let Some(value) = headers.get(&name) else {
            let refusal = Refusal::bad("missing-field", format!("required header `{name}` is missing"));
            return Err(refusal
                .field(attribute.name)
                .place(format!("header {name}"))
                .remedy(REMEDY));
        };
        attribute_value(
            attribute.name,
            &String::from_utf8_lossy(value.as_bytes()),
            format!("header {name}"),
        )?;
    }
    // The body is the data, in whatever form it says. An event without data has an empty body.
    let json = media_type == "application/json" || media_type.ends_with("+json");
    if json && !body.is_empty() {
        shape::valid(body)
    } else {
        Ok(())
    }
}

fn attribute_value(name: &str, value: &str, place: String) -> Result<(), Refusal> {
    if value.is_empty() {
        return Err(Refusal::bad("empty-field", format!("`{name}` is empty"))
            .field(name)
            .place(place)
            .remedy(REMEDY));
    }
    if name == "specversion" && value != "1.0" {
        let refusal = Refusal::bad("unsupported-version", format!("specversion {value:?} is not supported"));
        return Err(refusal.field(name).place(place).remedy("send specversion 1.0"));
    }
    Ok(())
}

/// The content type without parameters, in lower case; empty when there is none.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
