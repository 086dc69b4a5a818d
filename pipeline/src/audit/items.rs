//! How many items a raw body holds, by a decoder that knows nothing but that.
//!
//! Written against `docs/topics.md` and the formats' own pages, not against normalize: it looks at the members of the outermost
//! object, in their order, and at the lengths of arrays. A body that cannot be split is one item, whatever is wrong with it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use stream::Record;

/// Items in a record of `events.raw`; `None` where rules of the configuration may decide it.
pub fn items(record: &Record) -> Option<u64> {
    let header = |name: &str| {
        let value = record.headers.iter().rev().find(|(n, _)| n.eq_ignore_ascii_case(name));
        value
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default()
    };
    let Ok(text) = std::str::from_utf8(&record.value) else {
        return Some(1);
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let attributes = ["ce-specversion", "ce_specversion"]
        .iter()
        .any(|name| !header(name).is_empty());
    let in_headers = attributes && !header("content-type").starts_with("application/cloudevents");
    Some(match header("aegis-sender").as_str() {
        "alertmanager" | "alertmanager-api" => match read(text) {
            Some(Shape::Array(length)) => length,
            Some(Shape::Object(members)) => alerts(&members).unwrap_or(1),
            _ => 1,
        },
        // One record of the watch says one thing; who pushes may push lists.
        "kubernetes" if !header("kubernetes-sighting").is_empty() => 1,
        "kubernetes" => match read(text) {
            Some(Shape::Array(length)) => length,
            Some(Shape::Object(members)) => array(&members, "items").unwrap_or(1),
            _ => 1,
        },
        "grafana" => return grafana(text),
        sender if sender.starts_with("json/") => return None,
        "events" if in_headers => 1,
        "events" => match read(text) {
            Some(Shape::Array(length)) => length,
            _ => 1,
        },
        "flat" => flat(text),
        "" if in_headers || !header("kubernetes-sighting").is_empty() => 1,
        "" => unnamed(text),
        _ => 1,
    })
}

/// Grafana's own payload lists its alerts and is of version 1; another may be of a template, for which there may be rules.
fn grafana(text: &str) -> Option<u64> {
    let Some(Shape::Object(members)) = read(text) else {
        return None;
    };
    let own = |(name, shape): &(String, Shape)| name == "version" && matches!(shape, Shape::Text(text) if text == "1");
    alerts(&members).filter(|_| members.iter().any(own))
}

/// The first of these that the members, in order, make true: a CloudEvent (one), a notification (its alerts), anything else
/// (one).
fn unnamed(text: &str) -> u64 {
    match read(text) {
        Some(Shape::Array(length)) => length,
        Some(Shape::Object(members)) => {
            let mut version = None;
            let mut listed = false;
            let mut grafana = false;
            for (name, shape) in &members {
                match (name.as_str(), shape) {
                    ("specversion" | "event_action", _) => return 1,
                    ("version", Shape::Text(text)) => version = Some(text.as_str()),
                    ("alerts", _) => listed = true,
                    ("orgId" | "state", _) => grafana = true,
                    _ => {}
                }
                if (version == Some("4") && listed) || (version == Some("1") && grafana) {
                    return alerts(&members).unwrap_or(1);
                }
            }
            1
        }
        _ => lines(text),
    }
}

fn flat(text: &str) -> u64 {
    match read(text) {
        Some(Shape::Array(length)) => length,
        Some(_) => 1,
        None => lines(text),
    }
}

/// A body that is no JSON may be one object per line.
fn lines(text: &str) -> u64 {
    let text = text.trim();
    if !text.lines().skip(1).any(|line| line.starts_with('{')) {
        return 1;
    }
    text.lines().filter(|line| !line.trim().is_empty()).count() as u64
}

fn alerts(members: &[(String, Shape)]) -> Option<u64> {
    array(members, "alerts")
}

fn array(members: &[(String, Shape)], wanted: &str) -> Option<u64> {
    match members.iter().find(|(name, _)| name == wanted) {
        Some((_, Shape::Array(length))) => Some(*length),
        _ => None,
    }
}

fn read(text: &str) -> Option<Shape> {
    serde_json::from_str(text).ok()
}

/// A JSON value, as far as it matters here.
enum Shape {
    Array(u64),
    Object(Vec<(String, Shape)>),
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader { depth: 0 })
    }
}

/// Members are looked into only at the outermost object: what is below may be as deep as it likes.
struct Reader {
    depth: u8,
}

impl<'de> Visitor<'de> for Reader {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.depth > 0 {
                map.next_value::<IgnoredAny>()?;
            } else {
                members.push((name, map.next_value_seed(Member)?));
            }
        }
        Ok(Shape::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut length = 0;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Shape::Array(length))
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
}

struct Member;

impl<'de> serde::de::DeserializeSeed<'de> for Member {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(Reader { depth: 1 })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use stream::{Instant, Offset};

    use super::*;

    #[test]
    fn bodies() {
        fn check(headers: &[(&str, &str)], body: &str, expected: impl Into<Option<u64>>) {
            let record = Record {
                offset: Offset(0),
                key: None,
                value: Bytes::copy_from_slice(body.as_bytes()),
                headers: headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
                    .collect(),
                timestamp: Instant(0),
            };
            let expected: Option<u64> = expected.into();
            assert_eq!(items(&record), expected, "{headers:?} {body}");
        }
        let am = [("aegis-sender", "alertmanager")];
        check(&am, r#"{"version":"4","alerts":[{},{"a":[1,2]},3]}"#, 3);
        check(&am, r#"{"version":"4","alerts":[]}"#, 0);
        check(&am, r#"[{},{}]"#, 2);
        check(&am, r#"{"version":"4"}"#, 1);
        check(&am, "{", 1);
        check(&[], r#"{"version":"4","alerts":[{},{}]}"#, 2);
        check(&[], r#"{"alerts":[{},{}],"version":"1","orgId":1}"#, 2);
        check(&[], r#"{"specversion":"1.0","version":"4","alerts":[{},{}]}"#, 1);
        check(&[], r#"{"neither":1}"#, 1);
        check(&[], "[]", 0);
        check(&[("ce_specversion", "1.0")], "[1,2]", 1);
        let kube = [("aegis-sender", "kubernetes")];
        check(&kube, r#"{"kind":"EventList","items":[{},{},{}]}"#, 3);
        check(&kube, r#"{"kind":"Event"}"#, 1);
        check(&kube, "[{},{}]", 2);
        let seen = [("aegis-sender", "kubernetes"), ("kubernetes-sighting", "{}")];
        check(&seen, r#"{"kind":"Pod","items":[{},{}]}"#, 1);
        check(&[("aegis-sender", "events")], "[{},{}]", 2);
        check(&[("aegis-sender", "events")], r#"{"specversion":"1.0"}"#, 1);
        check(&[("aegis-sender", "flat")], "{\"ts\":1}\n\n{\"ts\":2}\nx", 3);
        check(&[("aegis-sender", "flat")], "{\"ts\":1}", 1);
        check(&[], "{\"ts\":1\n{\"ts\":2}", 2);
        check(&[("aegis-sender", "nagios")], "[1,2]", 1);
        check(&[("aegis-sender", "alertmanager-api")], "[{},{}]", 2);
        check(&[("aegis-sender", "pagerduty")], r#"{"event_action":"resolve"}"#, 1);
        check(&[], r#"{"event_action":"resolve","version":"4","alerts":[{},{}]}"#, 1);
        check(&[("aegis-sender", "json")], "[{},{}]", 1);
        check(&[("aegis-sender", "json/n")], "[{},{}]", None);
        check(&[("aegis-sender", "grafana")], r#"{"version":"1","alerts":[{},{}]}"#, 2);
        check(&[("aegis-sender", "grafana")], r#"{"alerts":[{},{}]}"#, None);
        let deep = format!(
            "{{\"version\":\"4\",\"alerts\":[{}1{}]}}",
            "[".repeat(500),
            "]".repeat(500)
        );
        check(&am, &deep, 1);
    }
}
