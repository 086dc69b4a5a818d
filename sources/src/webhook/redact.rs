//! What must not be stored: credentials in headers, and configured headers and JSON fields. Runs before the append, so
//! that a secret never reaches the log.
//!
//! Values are cut out of the body by their place in it; every other byte stays as it was sent (number forms, key order,
//! duplicate keys, white space). A body that is not JSON is kept as it is, and so are secrets inside of a string value
//! (JSON text in a string, base64): only whole values can be named.

mod fields;

use std::collections::BTreeSet;
use std::ops::Range;

pub use fields::FieldRule;

/// Never stored, whatever is configured and whatever a sender wants kept.
const ALWAYS: &[&str] = &["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// What takes the place of a value.
const REDACTED: &[u8] = b"\"[redacted]\"";

/// Name of the record header that lists the rules which changed a body, separated by commas.
pub const HEADER: &str = "aegis-redacted";

/// The configured redaction.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    headers: BTreeSet<String>,
    fields: Vec<FieldRule>,
}

/// A body with values taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    pub body: Vec<u8>,
    /// The rules that matched, as configured, in the order of configuration.
    pub rules: Vec<String>,
}

impl Redaction {
    /// An error names the rule that cannot be read.
    pub fn new(headers: &[String], fields: &[String]) -> Result<Self, String> {
        let headers = headers.iter().map(|name| name.to_ascii_lowercase()).collect();
        let fields = fields
            .iter()
            .map(|rule| FieldRule::parse(rule))
            .collect::<Result<_, _>>()?;
        Ok(Redaction { headers, fields })
    }

    /// Whether a header (lower case) may be stored.
    pub fn keeps_header(&self, name: &str) -> bool {
        !ALWAYS.contains(&name) && !self.headers.contains(name)
    }

    /// Whether the value of a label or attribute of this name may not be stored: rules that name a field at any depth.
    pub fn hides(&self, name: &str) -> bool {
        let named = |rule: &FieldRule| matches!(rule, FieldRule::Name(hidden) if hidden.eq_ignore_ascii_case(name));
        self.fields.iter().any(named)
    }

    /// The body without the configured fields; `None` when there is nothing to take out. An error says where a JSON
    /// body could not be read to the end: such a body must not be stored, for nobody knows what is in it.
    pub fn body(&self, body: &[u8]) -> Result<Option<Redacted>, serde_json::Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let found = fields::find(&self.fields, body)?;
        if found.is_empty() {
            return Ok(None);
        }
        let matched: BTreeSet<usize> = found.iter().map(|(_, rule)| *rule).collect();
        let rules = matched.into_iter().map(|rule| self.fields[rule].to_string()).collect();
        Ok(Some(Redacted {
            body: cut(body, found.into_iter().map(|(place, _)| place)),
            rules,
        }))
    }
}

/// `places` rise and do not overlap.
fn cut(body: &[u8], places: impl Iterator<Item = Range<usize>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut from = 0;
    for place in places {
        out.extend_from_slice(&body[from..place.start]);
        out.extend_from_slice(REDACTED);
        from = place.end;
    }
    out.extend_from_slice(&body[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(headers: &[&str], fields: &[&str]) -> Redaction {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        Redaction::new(&owned(headers), &owned(fields)).unwrap()
    }

    #[track_caller]
    fn check(rules: &[&str], body: &str, expected: &str, matched: &[&str]) {
        let redacted = redaction(&[], rules).body(body.as_bytes()).unwrap();
        match redacted {
            Some(redacted) => {
                assert_eq!(String::from_utf8(redacted.body).unwrap(), expected);
                assert_eq!(redacted.rules, matched);
            }
            None => assert_eq!((expected, matched), (body, [].as_slice())),
        }
    }

    #[test]
    fn fields() {
        check(&[], r#"{"a":1}"#, r#"{"a":1}"#, &[]);
        check(&["b"], r#"{"a":1}"#, r#"{"a":1}"#, &[]);
        check(&["a"], r#"{"a":1}"#, r#"{"a":"[redacted]"}"#, &["a"]);
        check(
            &["a"],
            r#"{ "A" : {"x":[1,2]} , "n": 1.50}"#,
            r#"{ "A" : "[redacted]" , "n": 1.50}"#,
            &["a"],
        );
        check(
            &["a"],
            r#"[{"b":[{"a":"s\"}"}]},{"a":null}]"#,
            r#"[{"b":[{"a":"[redacted]"}]},{"a":"[redacted]"}]"#,
            &["a"],
        );
        check(
            &["a"],
            r#"{"\u0061":1,"a":2}"#,
            r#"{"\u0061":"[redacted]","a":"[redacted]"}"#,
            &["a"],
        );
        check(
            &["/a/0/b"],
            r#"{"a":[{"b":1},{"b":2}]}"#,
            r#"{"a":[{"b":"[redacted]"},{"b":2}]}"#,
            &["/a/0/b"],
        );
        check(
            &["/a/*/b"],
            r#"{"a":[{"b":1},{"b":2}]}"#,
            r#"{"a":[{"b":"[redacted]"},{"b":"[redacted]"}]}"#,
            &["/a/*/b"],
        );
        check(
            &["/a~1b/c~0"],
            r#"{"a/b":{"c~":"é"}}"#,
            r#"{"a/b":{"c~":"[redacted]"}}"#,
            &["/a~1b/c~0"],
        );
        check(&["/A"], r#"{"a":1}"#, r#"{"a":1}"#, &[]);
        check(
            &["x", "/a", "b"],
            r#"{"a":{"b":1},"b":2}"#,
            r#"{"a":"[redacted]","b":"[redacted]"}"#,
            &["/a", "b"],
        );
        check(&["a"], "\"a\"", "\"a\"", &[]);
    }

    #[test]
    fn unreadable_bodies_are_errors() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for body in ["{\"a\":", "nope", deep.as_str(), "{} {}"] {
            assert!(redaction(&[], &["a"]).body(body.as_bytes()).is_err(), "{body:.20}");
        }
    }

    #[test]
    fn headers() {
        let redaction = redaction(&["X-Api-Key"], &[]);
        for (name, kept) in [
            ("authorization", false),
            ("cookie", false),
            ("proxy-authorization", false),
            ("x-api-key", false),
            ("user-agent", true),
        ] {
            assert_eq!(redaction.keeps_header(name), kept, "{name}");
        }
    }
}
