//! The members of an event, each read when it is asked for.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::normalize::extra::{Extra, Item, Json};
use crate::normalize::fault::Fault;
use crate::normalize::json::Trail;
use crate::normalize::time;

/// Members that say where and who, at length.
const NAMES_ONLY: &[&str] = &["repository", "organization", "enterprise", "installation", "sender"];
/// What names one of them.
const NAMING: &[&str] = &["id", "name", "full_name", "login", "slug", "default_branch", "html_url"];

pub struct Body<'a> {
    top: BTreeMap<String, &'a RawValue>,
    value: Value,
}

/// Where it happened.
pub struct Repository {
    pub name: Option<String>,
    pub full_name: Option<String>,
}

impl<'a> Body<'a> {
    pub fn read(text: &'a str) -> Result<Self, Fault> {
        let fault = |e: serde_json::Error| Fault::json(&e, &Trail::default());
        let top: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(fault)?;
        Ok(Body {
            top,
            value: serde_json::from_str(text).map_err(fault)?,
        })
    }

    /// Whether the value at `pointer` is there and not `null`.
    pub fn has(&self, pointer: &str) -> bool {
        self.value.pointer(pointer).is_some_and(|value| !value.is_null())
    }

    /// A text that is not empty.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.value.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
    }

    pub fn first_text(&self, pointers: &[&str]) -> Option<&str> {
        pointers.iter().find_map(|pointer| self.text(pointer))
    }

    pub fn is_true(&self, pointer: &str) -> bool {
        self.value.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
    }

    pub fn action(&self) -> &str {
        self.text("/action").unwrap_or("")
    }

    /// A number or a text that identifies something.
    pub fn id(&self, pointer: &str) -> Result<String, Fault> {
        match self.value.pointer(pointer) {
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            _ => Err(Fault::missing(pointer, "it identifies the event's subject")),
        }
    }

    /// Microseconds since 1970. `None` where there is none; a text that is no time is a fault.
    pub fn time(&self, pointer: &str) -> Result<Option<i64>, Fault> {
        match self.value.pointer(pointer) {
            None | Some(Value::Null) => Ok(None),
            // Pushes tell some times in seconds.
            Some(Value::Number(seconds)) => Ok(seconds.as_i64().and_then(|seconds| seconds.checked_mul(1_000_000))),
            Some(Value::String(text)) => match time::parse(text) {
                Some(at) => Ok(Some(at)),
                None => Err(Fault::bad_time(pointer, text)),
            },
            Some(_) => Err(Fault::new("bad_time", pointer, "is no time")),
        }
    }

    /// The first of `pointers` at which there is a time.
    pub fn first_time(&self, pointers: &[&str]) -> Result<Option<i64>, Fault> {
        for pointer in pointers {
            if let Some(at) = self.time(pointer)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    pub fn repository(&self) -> Repository {
        let full_name = self.text("/repository/full_name").map(str::to_owned);
        let name = self.text("/repository/name").map(str::to_owned);
        Repository {
            name: name.or_else(|| Some(full_name.as_deref()?.rsplit('/').next()?.to_owned())),
            full_name,
        }
    }

    /// Whether `branch` is the one that the repository is run from.
    pub fn is_default(&self, branch: Option<&str>) -> bool {
        branch.is_some() && branch == self.text("/repository/default_branch")
    }

    /// Moves all members to `extra`.
    pub fn keep(&mut self, extra: &mut Extra<'a>) {
        for (name, raw) in std::mem::take(&mut self.top) {
            let json = if NAMES_ONLY.contains(&name.as_str()) {
                let members = self.value.get(&name).and_then(Value::as_object);
                let named: BTreeMap<&str, &Value> = members
                    .into_iter()
                    .flatten()
                    .filter(|(member, _)| NAMING.contains(&member.as_str()))
                    .map(|(member, value)| (member.as_str(), value))
                    .collect();
                // Writing a map of values cannot fail.
                Json::Made(serde_json::to_string(&named).unwrap_or_default().into())
            } else {
                Json::Raw(raw.get())
            };
            extra.items.push(Item {
                name: name.into(),
                json,
                stable: true,
            });
        }
    }
}
