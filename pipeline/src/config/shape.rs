//! What the schema allows at one place, in the words the checks and the reference need.
//!
//! The schema is generated from the settings structs, so it cannot disagree with them. Forms that the settings do not
//! use (untagged unions, tuples) are [`Shape::Anything`] and left to the typed reading that follows.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The schema of the whole configuration, without references.
pub fn schema_of<T: schemars::JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// What may stand at one place.
#[derive(Clone, Debug)]
pub enum Shape<'a> {
    /// Known keys, and which of them must be there.
    Table {
        keys: &'a Map<String, Value>,
        required: Vec<&'a str>,
    },
    /// Any keys, values all of one schema.
    Map(&'a Value),
    Array(&'a Value),
    /// One of these words, each with its meaning.
    Words(Vec<(&'a str, &'a str)>),
    /// Text; the format says what kind (`duration`, `size`, `secret`, `date-time`…).
    Text {
        format: &'a str,
    },
    Integer {
        least: Option<i64>,
        most: Option<i64>,
    },
    Number {
        least: Option<f64>,
        most: Option<f64>,
    },
    Bool,
    Anything,
}

impl<'a> Shape<'a> {
    pub fn of(schema: &'a Value) -> Self {
        if let Some(only) = not_null(schema) {
            return Shape::of(only);
        }
        if let Some(words) = words(schema) {
            return Shape::Words(words);
        }
        match type_of(schema) {
            "object" => match (schema["properties"].as_object(), &schema["additionalProperties"]) {
                (Some(keys), _) => {
                    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
                    Shape::Table {
                        keys,
                        required: required.iter().filter_map(Value::as_str).collect(),
                    }
                }
                (None, inner @ Value::Object(_)) => Shape::Map(inner),
                _ => Shape::Anything,
            },
            "array" => match &schema["items"] {
                Value::Null => Shape::Anything,
                items => Shape::Array(items),
            },
            "string" => Shape::Text {
                format: schema["format"].as_str().unwrap_or_default(),
            },
            "integer" => Shape::Integer {
                least: schema["minimum"].as_i64(),
                most: schema["maximum"].as_i64(),
            },
            "number" => Shape::Number {
                least: schema["minimum"].as_f64(),
                most: schema["maximum"].as_f64(),
            },
            "boolean" => Shape::Bool,
            _ => Shape::Anything,
        }
    }

    /// What to write, in words: `an integer from 1 to 65535`.
    pub fn wanted(&self) -> String {
        match self {
            Shape::Table { .. } | Shape::Map(_) => "a table".to_owned(),
            Shape::Array(items) => format!("an array, each item {}", Shape::of(items).wanted()),
            Shape::Words(words) => {
                let words: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
                format!("one of {}", words.join(", "))
            }
            Shape::Text { format: "duration" } => "a duration such as \"30s\"".to_owned(),
            Shape::Text { format: "size" } => "a size such as \"64MiB\"".to_owned(),
            Shape::Text { format: "secret" } => {
                "a secret such as { env = \"NAME\" } or { file = \"/path\" }".to_owned()
            }
            Shape::Text { .. } => "a string".to_owned(),
            Shape::Integer { least, most } => format!("an integer{}", bounds(*least, *most)),
            Shape::Number { least, most } => format!("a number{}", bounds(*least, *most)),
            Shape::Bool => "true or false".to_owned(),
            Shape::Anything => "a value".to_owned(),
        }
    }
}

/// The doc comment.
pub fn description(schema: &Value) -> &str {
    schema["description"]
        .as_str()
        .or_else(|| not_null(schema)?["description"].as_str())
        .unwrap_or_default()
}

/// Whether it may be left out without a value taking its place.
pub fn optional(schema: &Value) -> bool {
    not_null(schema).is_some()
        || schema["type"]
            .as_array()
            .is_some_and(|types| types.iter().any(|t| t == "null"))
}

fn bounds<T: std::fmt::Display>(least: Option<T>, most: Option<T>) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" of at least {least}"),
        (None, Some(most)) => format!(" of at most {most}"),
        (None, None) => String::new(),
    }
}

/// `Option<T>` of a named type is "T or null": the T.
fn not_null(schema: &Value) -> Option<&Value> {
    let either = schema["anyOf"].as_array()?;
    let mut others = either.iter().filter(|one| one["type"] != "null");
    match (others.next(), others.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// An enum of plain words, with or without doc comments on its variants.
fn words(schema: &Value) -> Option<Vec<(&str, &str)>> {
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .filter(|word| !word.is_null())
            .map(|word| Some((word.as_str()?, "")))
            .collect();
    }
    let mut found = Vec::new();
    for variant in schema["oneOf"].as_array()? {
        match (variant["const"].as_str(), variant["enum"].as_array()) {
            (Some(word), _) => found.push((word, variant["description"].as_str().unwrap_or_default())),
            // Variants without a doc comment are listed together.
            (None, Some(words)) => found.extend(words.iter().filter_map(|word| Some((word.as_str()?, "")))),
            _ => return None,
        }
    }
    Some(found)
}

fn type_of(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(one) => one,
        Value::Array(several) => several
            .iter()
            .filter_map(Value::as_str)
            .find(|t| *t != "null")
            .unwrap_or_default(),
        _ => "",
    }
}
