//! Finds the places of JSON values that rules name, in one pass and without building a tree. Nesting is bounded by
//! serde_json's limit (128 levels).

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Names the values to take out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldRule {
    /// Any object field of this name, ignoring ASCII case.
    Name(String),
    /// JSON pointer (RFC 6901), in which a step `*` stands for any one step.
    Pointer { text: String, steps: Vec<String> },
}

impl FieldRule {
    pub fn parse(rule: &str) -> Result<Self, String> {
        if rule.is_empty() || rule == "/" {
            return Err(format!(
                "redact_fields: {rule:?} names no field: give a field name or a JSON pointer"
            ));
        }
        let Some(pointer) = rule.strip_prefix('/') else {
            return Ok(FieldRule::Name(rule.to_owned()));
        };
        let steps: Option<Vec<String>> = pointer.split('/').map(unescape).collect();
        match steps {
            Some(steps) => Ok(FieldRule::Pointer {
                text: rule.to_owned(),
                steps,
            }),
            None => Err(format!(
                "redact_fields: {rule:?} is not a JSON pointer: write ~0 for `~` and ~1 for `/`"
            )),
        }
    }

    fn names(&self, path: &[Step]) -> bool {
        match self {
            FieldRule::Name(name) => matches!(path.last(), Some(Step::Key(key)) if key.eq_ignore_ascii_case(name)),
            FieldRule::Pointer { steps, .. } => {
                steps.len() == path.len() && steps.iter().zip(path).all(|(wanted, step)| step.is(wanted))
            }
        }
    }
}

impl fmt::Display for FieldRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldRule::Name(text) | FieldRule::Pointer { text, .. } => f.write_str(text),
        }
    }
}

/// The values that `rules` name, in order, outermost only, each with the index of its rule.
pub fn find(rules: &[FieldRule], body: &[u8]) -> Result<Vec<(Range<usize>, usize)>, serde_json::Error> {
    let mut search = Search {
        rules,
        body,
        path: Vec::new(),
        found: Vec::new(),
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    Value(&mut search).deserialize(&mut json)?;
    json.end()?;
    Ok(search.found)
}

/// A step from a value to one inside of it.
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn is(&self, wanted: &str) -> bool {
        wanted == "*"
            || match self {
                Step::Key(key) => key == wanted,
                Step::Index(index) => wanted.parse() == Ok(*index),
            }
    }
}

struct Search<'s> {
    rules: &'s [FieldRule],
    body: &'s [u8],
    path: Vec<Step>,
    found: Vec<(Range<usize>, usize)>,
}

impl Search<'_> {
    /// `raw` is a part of `body`.
    fn hit(&mut self, raw: &RawValue, rule: usize) {
        let start = raw.get().as_ptr().addr() - self.body.as_ptr().addr();
        self.found.push((start..start + raw.get().len(), rule));
    }
}

/// Walks one value.
struct Value<'w, 's>(&'w mut Search<'s>);

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0.rules.iter().position(|rule| rule.names(&self.0.path)) {
            Some(rule) => {
                let raw = <&RawValue>::deserialize(deserializer)?;
                self.0.hit(raw, rule);
                Ok(())
            }
            None => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            self.0.path.push(Step::Key(key));
            map.next_value_seed(Value(self.0))?;
            self.0.path.pop();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.0.path.push(Step::Index(index));
            let more = seq.next_element_seed(Value(self.0))?;
            self.0.path.pop();
            if more.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// One step of a JSON pointer, `None` for a `~` that escapes nothing.
fn unescape(step: &str) -> Option<String> {
    let mut out = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}
