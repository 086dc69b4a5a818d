//! The configuration as it was written: values with the place each came from.
//!
//! The file is read first; environment variables and options are laid over it, so that a fault in an override names
//! the override and not the file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item, TableLike, TomlError};

use super::fault::{Fault, Place};

/// Who gave a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Bytes of the file.
    File(Range<usize>),
    Environment(String),
    Option(String),
}

/// A value and who gave it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub origin: Origin,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Table(BTreeMap<String, Entry>),
    Array(Vec<Node>),
    String(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// Dates and times have no use in the settings; kept to name them in a fault.
    Datetime(String),
}

/// A key of a table: its own place and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: Origin,
    pub node: Node,
}

/// The file that was read, to turn bytes into lines.
#[derive(Clone, Debug, Default)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
}

impl SourceFile {
    /// The file as a tree. TOML's syntax errors are reported one at a time, because what follows one is a guess.
    pub fn parse(&self) -> Result<Node, Fault> {
        let document = Document::parse(self.text.as_str()).map_err(|e| self.syntax_fault(&e))?;
        Ok(Node {
            origin: Origin::File(0..0),
            value: Value::Table(table(document.as_table(), 0..0)),
        })
    }

    pub fn place(&self, origin: &Origin) -> Place {
        match origin {
            Origin::File(span) => {
                let (line, column) = line_and_column(&self.text, span.start);
                Place::File {
                    path: self.path.clone(),
                    line,
                    column,
                }
            }
            Origin::Environment(name) => Place::Environment { name: name.clone() },
            Origin::Option(name) => Place::Option { name: name.clone() },
        }
    }

    fn syntax_fault(&self, error: &TomlError) -> Fault {
        let place = self.place(&Origin::File(error.span().unwrap_or(0..0)));
        // Only the first line: the rest may quote the source line, which may hold a secret.
        let problem = error.message().lines().next().unwrap_or_default();
        Fault {
            place,
            key: String::new(),
            problem: format!("not valid TOML: {problem}"),
            help: None,
        }
    }
}

impl Node {
    /// An empty table, where no file was given.
    pub fn empty() -> Self {
        Node {
            origin: Origin::File(0..0),
            value: Value::Table(BTreeMap::new()),
        }
    }

    /// A value of an override, as TOML would read it on the right of an equals sign.
    pub fn from_toml(text: &str, origin: &Origin) -> Option<Self> {
        let value: toml_edit::Value = text.trim().parse().ok()?;
        let mut node = from_value(&value, &(0..0));
        node.set_origin(origin);
        Some(node)
    }

    /// A value of an override given as JSON.
    pub fn from_json(text: &str, origin: &Origin) -> Option<Self> {
        let json: serde_json::Value = serde_json::from_str(text).ok()?;
        node_of_json(json, origin)
    }

    pub fn text(text: &str, origin: Origin) -> Self {
        Node {
            origin,
            value: Value::String(text.to_owned()),
        }
    }

    /// Puts `node` at `path`, making tables on the way; an earlier value there is replaced.
    pub fn set(&mut self, path: &[String], node: Node) {
        let origin = node.origin.clone();
        if !matches!(self.value, Value::Table(_)) {
            *self = Node {
                origin: origin.clone(),
                value: Value::Table(BTreeMap::new()),
            };
        }
        let (Value::Table(entries), Some((first, rest))) = (&mut self.value, path.split_first()) else {
            return;
        };
        if rest.is_empty() {
            entries.insert(first.clone(), Entry { key: origin, node });
            return;
        }
        let entry = entries.entry(first.clone()).or_insert_with(|| Entry {
            key: origin.clone(),
            node: Node {
                origin,
                value: Value::Table(BTreeMap::new()),
            },
        });
        entry.node.set(rest, node);
    }

    /// The nearest thing to `path` that was written: the value, or the innermost table around it.
    pub fn written_at(&self, path: &[&str]) -> Option<&Origin> {
        let Value::Table(entries) = &self.value else {
            return None;
        };
        let (first, rest) = path.split_first()?;
        let entry = entries.get(*first)?;
        if rest.is_empty() {
            return Some(&entry.node.origin);
        }
        entry.node.written_at(rest).or(Some(&entry.key))
    }

    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Table(_) => "a table",
            Value::Array(_) => "an array",
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number with a fraction",
            Value::Bool(_) => "true or false",
            Value::Datetime(_) => "a date or time",
        }
    }

    fn set_origin(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        match &mut self.value {
            Value::Table(entries) => {
                for entry in entries.values_mut() {
                    entry.key = origin.clone();
                    entry.node.set_origin(origin);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| item.set_origin(origin)),
            _ => {}
        }
    }
}

fn table(table: &dyn TableLike, around: Range<usize>) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    for (name, item) in table.iter() {
        let key = table
            .key(name)
            .and_then(|key| key.span())
            .or_else(|| item.span())
            .unwrap_or_else(|| around.clone());
        if let Some(node) = from_item(item, &key) {
            entries.insert(
                name.to_owned(),
                Entry {
                    key: Origin::File(key),
                    node,
                },
            );
        }
    }
    entries
}

fn from_item(item: &Item, around: &Range<usize>) -> Option<Node> {
    let span = item.span().unwrap_or_else(|| around.clone());
    let value = match item {
        Item::None => return None,
        Item::Value(value) => return Some(from_value(value, around)),
        Item::Table(inner) => Value::Table(table(inner, span.clone())),
        Item::ArrayOfTables(inner) => {
            let tables = inner.iter().map(|one| {
                let span = one.span().unwrap_or_else(|| span.clone());
                Node {
                    value: Value::Table(table(one, span.clone())),
                    origin: Origin::File(span),
                }
            });
            Value::Array(tables.collect())
        }
    };
    Some(Node {
        origin: Origin::File(span),
        value,
    })
}

fn from_value(value: &toml_edit::Value, around: &Range<usize>) -> Node {
    let span = value.span().unwrap_or_else(|| around.clone());
    let read = match value {
        toml_edit::Value::String(text) => Value::String(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::Integer(*number.value()),
        toml_edit::Value::Float(number) => Value::Float(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::Bool(*flag.value()),
        toml_edit::Value::Datetime(at) => Value::Datetime(at.value().to_string()),
        toml_edit::Value::Array(items) => Value::Array(items.iter().map(|item| from_value(item, &span)).collect()),
        toml_edit::Value::InlineTable(inner) => Value::Table(table(inner, span.clone())),
    };
    Node {
        origin: Origin::File(span),
        value: read,
    }
}

fn node_of_json(json: serde_json::Value, origin: &Origin) -> Option<Node> {
    let value = match json {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(integer) => Value::Integer(integer),
            None => Value::Float(number.as_f64()?),
        },
        serde_json::Value::String(text) => Value::String(text),
        serde_json::Value::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| node_of_json(item, origin))
                .collect::<Option<_>>()?,
        ),
        serde_json::Value::Object(fields) => {
            let mut entries = BTreeMap::new();
            for (name, field) in fields {
                entries.insert(
                    name,
                    Entry {
                        key: origin.clone(),
                        node: node_of_json(field, origin)?,
                    },
                );
            }
            Value::Table(entries)
        }
    };
    Some(Node {
        origin: origin.clone(),
        value,
    })
}

/// Line and column from 1; the column counts characters.
fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    let before = &text[..byte];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// The path as a person would name the file: without a leading `./`.
pub fn shown(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_path_buf()
}
