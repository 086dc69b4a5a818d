//! Holds what was written against the schema, and resolves references to secrets on the way.
//!
//! Every fault is found, not only the first: a part with a fault is left out (its default stands in), and the walk goes
//! on. What comes out is JSON that the typed settings can be read from. Values of secrets appear in no fault.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::fault::{Fault, Warning, nearest};
use super::shape::Shape;
use super::tree::{Entry, Node, Origin, SourceFile, Value};

/// One walk over one tree.
pub struct Walk<'a> {
    pub file: &'a SourceFile,
    pub environment: &'a BTreeMap<String, String>,
    /// Every known path, to find where a misplaced key belongs.
    pub known: &'a [String],
    pub faults: Vec<Fault>,
    pub warnings: Vec<Warning>,
}

impl Walk<'_> {
    /// The value at `path` as JSON, as far as it is right.
    pub fn read(&mut self, path: &str, node: &Node, schema: &Json) -> Option<Json> {
        let shape = Shape::of(schema);
        match (&shape, &node.value) {
            (Shape::Table { keys, required }, Value::Table(entries)) => self.table(path, node, entries, keys, required),
            (Shape::Map(inner), Value::Table(entries)) => {
                let read = entries.iter().filter_map(|(name, entry)| {
                    let value = self.read(&join(path, name), &entry.node, inner)?;
                    Some((name.clone(), value))
                });
                Some(Json::Object(read.collect()))
            }
            (Shape::Array(items), Value::Array(nodes)) => {
                let read = nodes.iter().enumerate();
                Some(
                    read.filter_map(|(i, one)| self.read(&format!("{path}[{i}]"), one, items))
                        .collect(),
                )
            }
            (Shape::Words(words), Value::String(text)) => {
                if words.iter().any(|(word, _)| word == text) {
                    return Some(Json::String(text.clone()));
                }
                let help =
                    nearest(text, words.iter().map(|(word, _)| *word)).map(|word| format!("did you mean {word:?}?"));
                self.fault(&node.origin, path, format!("{text:?} is not {}", shape.wanted()), help)
            }
            (Shape::Text { format }, Value::String(text)) => {
                self.warn_of_plain_secret(path, node, text, format);
                Some(Json::String(text.clone()))
            }
            (Shape::Text { format: "" | "secret" }, Value::Table(entries)) => self.reference(path, node, entries),
            (Shape::Integer { least, most }, Value::Integer(number)) => {
                if least.is_some_and(|least| *number < least) || most.is_some_and(|most| *number > most) {
                    return self.fault(
                        &node.origin,
                        path,
                        format!("{number} is out of range"),
                        Some(write(&shape)),
                    );
                }
                Some(Json::from(*number))
            }
            (Shape::Number { least, most }, Value::Integer(_) | Value::Float(_)) => {
                let number = match node.value {
                    Value::Integer(number) => number as f64,
                    Value::Float(number) => number,
                    _ => 0.0,
                };
                if !number.is_finite() || least.is_some_and(|l| number < l) || most.is_some_and(|m| number > m) {
                    return self.fault(
                        &node.origin,
                        path,
                        format!("{number} is out of range"),
                        Some(write(&shape)),
                    );
                }
                Some(Json::from(number))
            }
            (Shape::Bool, Value::Bool(flag)) => Some(Json::Bool(*flag)),
            (Shape::Anything, _) => Some(json(node)),
            _ => {
                // The value itself stays out of the message: it may be a secret in the wrong place.
                let problem = format!("this is {}", node.kind());
                self.fault(&node.origin, path, problem, Some(write(&shape)))
            }
        }
    }

    fn table(
        &mut self,
        path: &str,
        node: &Node,
        entries: &BTreeMap<String, Entry>,
        keys: &Map<String, Json>,
        required: &[&str],
    ) -> Option<Json> {
        let mut read = Map::new();
        for (name, entry) in entries {
            let here = join(path, name);
            match keys.get(name) {
                Some(schema) => {
                    if let Some(value) = self.read(&here, &entry.node, schema) {
                        read.insert(name.clone(), value);
                    }
                }
                None => {
                    let help = self.help_for_unknown(path, name, keys);
                    self.fault(&entry.key, &here, "unknown key".to_owned(), help);
                }
            }
        }
        let missing: Vec<&str> = required
            .iter()
            .copied()
            .filter(|name| !entries.contains_key(*name))
            .collect();
        for name in &missing {
            let wanted = format!("write {name} = {}", Shape::of(&keys[*name]).wanted());
            self.fault(&node.origin, &join(path, name), "missing".to_owned(), Some(wanted));
        }
        // A required key that is missing or faulty makes the whole unreadable.
        required
            .iter()
            .all(|name| read.contains_key(*name))
            .then_some(Json::Object(read))
    }

    fn help_for_unknown(&self, path: &str, name: &str, keys: &Map<String, Json>) -> Option<String> {
        if let Some(near) = nearest(name, keys.keys().map(String::as_str)) {
            return Some(format!("did you mean {near:?}?"));
        }
        let elsewhere = self
            .known
            .iter()
            .find_map(|known| known.strip_suffix(name)?.strip_suffix('.').map(str::to_owned));
        if let Some(table) = elsewhere {
            return Some(format!("it belongs in [{table}]"));
        }
        let known: Vec<&str> = keys.keys().map(String::as_str).collect();
        let place = if path.is_empty() {
            "here".to_owned()
        } else {
            format!("in [{path}]")
        };
        Some(format!("known {place}: {}", known.join(", ")))
    }

    /// `{ env = "NAME" }` or `{ file = "/path" }`.
    fn reference(&mut self, path: &str, node: &Node, entries: &BTreeMap<String, Entry>) -> Option<Json> {
        let mut named = entries.iter();
        let (how, target) = match (named.next(), named.next()) {
            (Some((how, entry)), None) => match &entry.node.value {
                Value::String(target) if how == "env" || how == "file" => (how.as_str(), target.as_str()),
                _ => return self.not_a_reference(path, node),
            },
            _ => return self.not_a_reference(path, node),
        };
        let found = match how {
            "env" => match self.environment.get(target) {
                Some(value) if value.is_empty() => Err(format!("environment variable {target} is empty")),
                Some(value) => Ok(value.clone()),
                None => Err(format!("environment variable {target} is not set")),
            },
            _ => match std::fs::read_to_string(target) {
                Ok(text) if text.trim().is_empty() => Err(format!("file {target} is empty")),
                // Editors and `echo` end a file with a line feed that is no part of the secret.
                Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
                Err(e) => Err(format!("cannot read file {target}: {e}")),
            },
        };
        match found {
            Ok(secret) => Some(Json::String(secret)),
            Err(problem) => {
                let help = match how {
                    "env" => format!("set {target} where aegis is started, or use {{ file = \"/path\" }}"),
                    _ => "create it readable for the user that runs aegis, or use { env = \"NAME\" }".to_owned(),
                };
                self.fault(&node.origin, path, problem, Some(help))
            }
        }
    }

    fn not_a_reference(&mut self, path: &str, node: &Node) -> Option<Json> {
        let help = "write a string, { env = \"NAME\" } or { file = \"/path\" }".to_owned();
        self.fault(
            &node.origin,
            path,
            "this table is no reference to a value".to_owned(),
            Some(help),
        )
    }

    fn warn_of_plain_secret(&mut self, path: &str, node: &Node, text: &str, format: &str) {
        // What an environment variable holds is no worse than a reference to one.
        if matches!(node.origin, Origin::Environment(_)) {
            return;
        }
        let problem = match format {
            "secret" if !text.is_empty() => "this secret stands in plain text",
            "" if has_password(text) => "this URL holds a password in plain text",
            _ => return,
        };
        self.warnings.push(Warning(Fault {
            place: self.file.place(&node.origin),
            key: path.to_owned(),
            problem: problem.to_owned(),
            help: Some("use { env = \"NAME\" } or { file = \"/path\" } instead".to_owned()),
        }));
    }

    fn fault(&mut self, origin: &Origin, path: &str, problem: String, help: Option<String>) -> Option<Json> {
        self.faults.push(Fault {
            place: self.file.place(origin),
            key: path.to_owned(),
            problem,
            help,
        });
        None
    }
}

/// Names of environment variables that secrets refer to. They may begin with `AEGIS_` without being overrides.
pub fn referenced_variables(node: &Node, names: &mut BTreeSet<String>) {
    match &node.value {
        Value::Table(entries) => {
            if let (Some(entry), 1) = (entries.get("env"), entries.len())
                && let Value::String(name) = &entry.node.value
            {
                names.insert(name.clone());
            }
            entries
                .values()
                .for_each(|entry| referenced_variables(&entry.node, names));
        }
        Value::Array(items) => items.iter().for_each(|item| referenced_variables(item, names)),
        _ => {}
    }
}

/// `log` and `kind` → `log.kind`; a name with a dot is quoted as in TOML.
pub fn join(path: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match (path, bare) {
        ("", true) => name.to_owned(),
        ("", false) => format!("{name:?}"),
        (_, true) => format!("{path}.{name}"),
        (_, false) => format!("{path}.{name:?}"),
    }
}

fn write(shape: &Shape<'_>) -> String {
    format!("write {}", shape.wanted())
}

/// Whether `text` looks like `scheme://user:password@host`.
fn has_password(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    authority
        .rsplit_once('@')
        .and_then(|(user, _)| user.split_once(':'))
        .is_some_and(|(_, password)| !password.is_empty())
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Table(entries) => entries
            .iter()
            .map(|(name, entry)| (name.clone(), json(&entry.node)))
            .collect(),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::String(text) | Value::Datetime(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Bool(flag) => Json::Bool(*flag),
    }
}
