//! The cheap look at a JSON body: is it JSON, is its top level an object, are its top fields of the right type.
//! One pass; values below the top level are skipped over, not decoded.

use std::fmt;

use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Refusal;

/// The JSON type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// What is asked of a top-level field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Required,
    /// May be missing or `null`.
    Optional,
}

/// A top-level field of a known type.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub presence: Presence,
}

impl Field {
    pub const fn required(name: &'static str, kind: Kind) -> Self {
        Field {
            name,
            kind,
            presence: Presence::Required,
        }
    }

    pub const fn optional(name: &'static str, kind: Kind) -> Self {
        Field {
            name,
            kind,
            presence: Presence::Optional,
        }
    }
}

/// The top level of a JSON object: names (decoded) and values (as written), in order, each name once.
#[derive(Debug)]
pub struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads the top level, or says where it is not a JSON object.
    pub fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        match first_kind(body) {
            None | Some(Kind::Object) => {}
            Some(other) => {
                valid(body)?;
                return Err(wrong_top(other, Kind::Object));
            }
        }
        let object: Object<'a> = serde_json::from_slice(body).map_err(|error| malformed(body, &error))?;
        let mut names: Vec<&str> = object.0.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let name = twice[0].to_owned();
            let refusal = Refusal::bad("duplicate-field", format!("`{name}` stands twice at the top level"));
            return Err(refusal.place(pointer(&name)).field(name).remedy("send it once"));
        }
        Ok(object)
    }

    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| *value)
    }

    /// The value of a string field, decoded. `None` when it is missing or no string.
    pub fn string(&self, name: &str) -> Option<String> {
        self.get(name).and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// Refuses the first field that is missing or of another type. `remedy` says what the sender should send.
    pub fn check(&self, fields: &[Field], remedy: &str) -> Result<(), Refusal> {
        for field in fields {
            let Some(value) = self.get(field.name) else {
                if field.presence == Presence::Required {
                    let refusal = Refusal::bad("missing-field", format!("required field `{}` is missing", field.name));
                    return Err(refusal.field(field.name).place(pointer(field.name)).remedy(remedy));
                }
                continue;
            };
            let found = kind(value);
            let allowed = found == field.kind || (found == Kind::Null && field.presence == Presence::Optional);
            if !allowed {
                let detail = format!("`{}` is {found}, it must be {}", field.name, field.kind);
                let refusal = Refusal::bad("wrong-type", detail);
                return Err(refusal.field(field.name).place(pointer(field.name)).remedy(remedy));
            }
        }
        Ok(())
    }
}

/// Refuses a body that is not a JSON array.
pub fn array(body: &[u8]) -> Result<(), Refusal> {
    valid(body)?;
    match first_kind(body) {
        Some(Kind::Array) => Ok(()),
        other => Err(wrong_top(other.unwrap_or(Kind::Null), Kind::Array)),
    }
}

/// Refuses JSON that is nested deeper than `most`. What is no JSON is nobody's business here. One pass over the bytes, nothing on the
/// stack: it may be as deep as it likes.
pub fn depth(body: &[u8], most: usize) -> Result<(), Refusal> {
    if !matches!(first_kind(body), Some(Kind::Object | Kind::Array)) {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > most {
                    let refusal = Refusal::bad("too-deep", format!("the body is nested more than {most} levels deep"));
                    return Err(refusal.remedy("send it flatter, or raise `max_depth`"));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a body that is not JSON at all.
pub fn valid(body: &[u8]) -> Result<(), Refusal> {
    let read: Result<&RawValue, _> = serde_json::from_slice(body);
    read.map(|_| ()).map_err(|error| malformed(body, &error))
}

/// The refusal of a body that is not JSON (or nested beyond what is read).
pub fn malformed(body: &[u8], error: &serde_json::Error) -> Refusal {
    if body.is_empty() {
        return Refusal::bad("malformed-json", "the body is empty").remedy("send a JSON document as the body");
    }
    let text = error.to_string();
    let (place, line, column) = (text.rfind(" at line "), error.line(), error.column());
    let what = place.map_or(text.as_str(), |at| &text[..at]);
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "malformed-json",
        format!("the body is not valid JSON: {what}"),
    )
    .place(format!("line {line} column {column}"))
    .remedy("send one JSON document in UTF-8")
}

fn wrong_top(found: Kind, wanted: Kind) -> Refusal {
    Refusal::bad("wrong-top-level", format!("the body is {found}, it must be {wanted}"))
        .place("/")
        .remedy(format!("send {wanted} at the top level"))
}

/// JSON pointer (RFC 6901) to a top-level field.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn kind(value: &RawValue) -> Kind {
    first_kind(value.get().as_bytes()).unwrap_or(Kind::Null)
}

/// The type that the first character announces; `None` when it announces nothing.
fn first_kind(json: &[u8]) -> Option<Kind> {
    match json.iter().find(|byte| !byte.is_ascii_whitespace())? {
        b'{' => Some(Kind::Object),
        b'[' => Some(Kind::Array),
        b'"' => Some(Kind::String),
        b't' | b'f' => Some(Kind::Bool),
        b'n' => Some(Kind::Null),
        b'-' | b'0'..=b'9' => Some(Kind::Number),
        _ => None,
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Object => "an object",
            Kind::Array => "an array",
            Kind::String => "a string",
            Kind::Number => "a number",
            Kind::Bool => "a boolean",
            Kind::Null => "null",
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Fields).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Field] = &[
        Field::required("alerts", Kind::Array),
        Field::optional("status", Kind::String),
    ];

    #[track_caller]
    fn check(body: &[u8], reason: &str, place: Option<&str>, field: Option<&str>) {
        let refusal = Object::read(body)
            .and_then(|object| object.check(FIELDS, "mend it"))
            .unwrap_err();
        let found = (refusal.reason, refusal.place.as_deref(), refusal.field.as_deref());
        assert_eq!(found, (reason, place, field), "{refusal:?}");
        assert!(refusal.remedy.is_some() && refusal.status == StatusCode::BAD_REQUEST);
    }

    #[test]
    fn refused() {
        check(b"", "malformed-json", None, None);
        check(b"{\"alerts\":[}", "malformed-json", Some("line 1 column 12"), None);
        check(
            b"{\n \"alerts\": [],\n x",
            "malformed-json",
            Some("line 3 column 2"),
            None,
        );
        check(b"{\"alerts\":[]} {}", "malformed-json", Some("line 1 column 15"), None);
        check(b"\xef\xbb\xbf{}", "malformed-json", Some("line 1 column 1"), None);
        check(
            b"{\"alerts\":[\"\xff\"]}",
            "malformed-json",
            Some("line 1 column 13"),
            None,
        );
        check(
            b"{\"alerts\":[\"\0\"]}",
            "malformed-json",
            Some("line 1 column 12"),
            None,
        );
        check(b"[{\"alerts\":[]}]", "wrong-top-level", Some("/"), None);
        check(b"[", "malformed-json", Some("line 1 column 1"), None);
        check(b"null", "wrong-top-level", Some("/"), None);
        check(b"{}", "missing-field", Some("/alerts"), Some("alerts"));
        check(b"{\"alerts\":{}}", "wrong-type", Some("/alerts"), Some("alerts"));
        check(b"{\"alerts\":null}", "wrong-type", Some("/alerts"), Some("alerts"));
        check(
            b"{\"alerts\":[],\"status\":1}",
            "wrong-type",
            Some("/status"),
            Some("status"),
        );
        check(
            b"{\"alerts\":[],\"alerts\":[]}",
            "duplicate-field",
            Some("/alerts"),
            Some("alerts"),
        );
        check(
            b"{\"alerts\":[],\"a/b\":1,\"a\\/b\":1}",
            "duplicate-field",
            Some("/a~1b"),
            Some("a/b"),
        );
    }

    #[test]
    fn depths() {
        let check = |body: &str, most, taken| assert_eq!(depth(body.as_bytes(), most).is_ok(), taken, "{body}");
        check(r#"{"a":[1,{"b":[]}]}"#, 4, true);
        check(r#"{"a":[1,{"b":[]}]}"#, 3, false);
        check(r#"[[],[],[],{}]"#, 2, true);
        check(r#"{"a":"[[[[\"[[","b\\":[]}"#, 2, true);
        check("no JSON [[[[[[", 1, true);
        check(&"[".repeat(1_000_000), 100, false);
        check("]]]][[", 2, true);
    }

    #[test]
    fn taken() {
        let deep = format!("{{\"alerts\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        for body in [
            "{\"alerts\":[]}",
            " {\"alerts\" : [1,{}], \"status\": null, \"x\":\"\\u0000\"}\n",
            &deep,
        ] {
            Object::read(body.as_bytes()).unwrap().check(FIELDS, "").unwrap();
        }
    }
}
