//! A token in memory: it never prints or serialises itself.
//!
//! The same promise and the same schema (`format: secret`) as the kernel's secret, so the configuration resolves references
//! (`{ env = "NAME" }`, `{ file = "/path" }`) here too. This crate may not import the kernel.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Token, password or key.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

/// What stands in place of a secret wherever one is printed.
const HIDDEN: &str = "[secret]";

impl Secret {
    pub fn new(secret: impl Into<String>) -> Self {
        Secret(secret.into())
    }

    /// The secret itself: hand it on, never print it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// It can stand behind `Bearer ` in a header.
    pub(crate) fn sendable(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Secret::new(secret)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(if self.0.is_empty() { "" } else { HIDDEN })
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct SecretVisitor;

        impl<'de> Visitor<'de> for SecretVisitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret")
            }

            fn visit_str<E: Error>(self, secret: &str) -> Result<Secret, E> {
                Ok(Secret::new(secret))
            }

            fn visit_map<M: MapAccess<'de>>(self, _: M) -> Result<Secret, M::Error> {
                Err(M::Error::custom(
                    "a reference to a secret must be resolved before the settings are read",
                ))
            }
        }

        input.deserialize_any(SecretVisitor)
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "secret", "examples": [{ "env": "NAME" }, { "file": "/path" }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{:?}", Some(&secret)), "Some([secret])");
        assert_eq!(serde_json::to_string(&Some(secret)).unwrap(), "\"[secret]\"");
    }

    #[test]
    fn read_from_text_only() {
        let read = |json: &str| serde_json::from_str::<Secret>(json);
        assert_eq!(read("\"hunter2\"").unwrap(), Secret::new("hunter2"));
        let unresolved = read(r#"{"env":"TOKEN"}"#).unwrap_err().to_string();
        assert!(unresolved.contains("must be resolved"), "{unresolved}");
    }
}
