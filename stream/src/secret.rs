//! A secret in memory: it never prints or serialises itself.
//!
//! In a configuration a secret is written as a reference, `{ env = "NAME" }` or `{ file = "/path" }`, or (with a
//! warning) as plain text. The kernel reads no environment, so references are resolved before a component's settings
//! are read; by then every secret is a string. A reference met here is an error and never taken for the secret itself.
//!
//! Not promised: the memory is not wiped when a secret is dropped.

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

    /// The secret itself. The name is long to be found by a reviewer: hand it on, never print it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Secret::new(secret)
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Secret(secret)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        // An absent secret is no secret; a default that printed as one would mislead.
        out.serialize_str(if self.is_empty() { "" } else { HIDDEN })
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

            fn visit_string<E: Error>(self, secret: String) -> Result<Secret, E> {
                Ok(Secret(secret))
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
        assert_eq!(format!("{secret:?} {secret}"), "[secret] [secret]");
        assert_eq!(serde_json::to_string(&Some(secret)).unwrap(), "\"[secret]\"");
    }

    #[test]
    fn read_from_text_only() {
        let read = |json: &str| serde_json::from_str::<Secret>(json);
        assert_eq!(read("\"hunter2\"").unwrap(), Secret::new("hunter2"));
        let unresolved = read(r#"{"env":"TOKEN"}"#).unwrap_err().to_string();
        assert!(unresolved.contains("must be resolved"), "{unresolved}");
        // The value of a wrong type is not repeated in the error: it may be the secret.
        assert!(read("true").is_err());
    }
}
