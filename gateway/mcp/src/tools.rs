//! The server's own tools: arguments, answers, and what each asks of the desk. [`crate::registry`] lists them.

pub mod evidence;
pub mod incidents;
pub mod operations;
pub mod propose;
pub mod query;
pub mod similar;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::answer::Failure;

/// Arguments of a tool; what does not fit is told to whoever called it.
pub fn arguments<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(arguments)).map_err(|fault| Failure::Wrong(format!("arguments: {fault}")))
}

/// The UUID in `field`.
pub fn uuid(field: &str, text: &str) -> Result<Uuid, Failure> {
    Uuid::parse_str(text.trim()).map_err(|_| Failure::Wrong(format!("{field}: {text:?} is not a UUID")))
}

/// A limit between 1 and `most`.
pub fn limit(given: Option<u32>, usual: u32, most: u32) -> Result<u32, Failure> {
    match given.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        limit => Err(Failure::Wrong(format!("limit: {limit} is not from 1 to {most}"))),
    }
}
