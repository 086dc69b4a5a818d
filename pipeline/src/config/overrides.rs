//! Environment variables laid over the file: `AEGIS_LOG__KIND=kafka` is `log.kind = "kafka"`.
//!
//! * A double underscore separates the steps of the path; names are compared without case.
//! * Text, durations, sizes and words are taken as they stand; numbers, `true`, arrays and tables are read as TOML, and
//!   arrays and tables also as JSON. A secret may be given as a reference: `{ env = "NAME" }`.
//! * A variable that begins with `AEGIS_` and names no setting is a fault, because it would be a typing error nobody
//!   notices. Not settings, and left alone: `AEGIS_CONFIG` (the path of the file), `AEGIS_TEST_*`, variables that a
//!   secret refers to, and what Kubernetes sets for a service called `aegis` (`AEGIS_SERVICE_HOST`, `AEGIS_PORT_…`).
//! * `AEGIS_LOG` is refused like any other name of a whole table: the filter of what is logged is
//!   `AEGIS_LOGGING__FILTER`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::fault::{Fault, Place, nearest};
use super::shape::Shape;
use super::tree::{Node, Origin, Value};
use super::walk::referenced_variables;

const PREFIX: &str = "AEGIS_";
/// Path of the configuration file.
pub const CONFIG_VARIABLE: &str = "AEGIS_CONFIG";
const TEST_PREFIX: &str = "AEGIS_TEST_";

/// Lays the overrides in `environment` over `tree`; returns the faults of those that are none.
pub fn lay_over(
    tree: &mut Node,
    environment: &BTreeMap<String, String>,
    schema: &Json,
    known: &[String],
) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut unknown = Vec::new();
    for (name, text) in environment {
        if !name.starts_with(PREFIX) || left_alone(name) {
            continue;
        }
        match place_of(name, schema) {
            Some((path, schema)) => match read(name, text, schema) {
                Ok(node) => tree.set(&path, node),
                Err(fault) => faults.push(fault),
            },
            None => unknown.push(name),
        }
    }
    let mut referenced = BTreeSet::new();
    referenced_variables(tree, &mut referenced);
    faults.extend(
        unknown
            .into_iter()
            .filter(|name| !referenced.contains(*name))
            .map(|name| Fault {
                place: Place::Environment { name: name.clone() },
                key: String::new(),
                problem: "no setting has this name".to_owned(),
                help: Some(help_for_unknown(name, schema, known)),
            }),
    );
    faults
}

/// `log.kind` → `AEGIS_LOG__KIND`.
pub fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

fn left_alone(name: &str) -> bool {
    name == CONFIG_VARIABLE || name.starts_with(TEST_PREFIX) || set_by_kubernetes(name)
}

/// Docker-style links that a pod gets for every service of its namespace.
fn set_by_kubernetes(name: &str) -> bool {
    if name.contains("__") {
        return false;
    }
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    let Some((_, port)) = name.split_once("_PORT") else {
        return false;
    };
    let mut parts = port.split('_').skip(1);
    port.is_empty()
        || (parts.next().is_some_and(|number| number.parse::<u16>().is_ok())
            && parts
                .next()
                .is_some_and(|protocol| matches!(protocol, "TCP" | "UDP" | "SCTP")))
}

/// Path and schema of the setting that `name` means, `None` if there is none or it is a whole table of settings.
fn place_of<'a>(name: &str, schema: &'a Json) -> Option<(Vec<String>, &'a Json)> {
    let mut path = Vec::new();
    let mut here = schema;
    for step in name[PREFIX.len()..].to_lowercase().split("__") {
        here = match Shape::of(here) {
            Shape::Table { keys, .. } => keys.get(step)?,
            Shape::Map(inner) => inner,
            _ => return None,
        };
        path.push(step.to_owned());
    }
    match Shape::of(here) {
        Shape::Table { required, .. } if required.is_empty() => None,
        _ => Some((path, here)),
    }
}

fn read(name: &str, text: &str, schema: &Json) -> Result<Node, Fault> {
    let origin = Origin::Environment(name.to_owned());
    let shape = Shape::of(schema);
    match shape {
        Shape::Text { format } => {
            let reference = matches!(format, "" | "secret") && text.trim_start().starts_with('{');
            let reference =
                reference.then(|| Node::from_toml(text, &origin).or_else(|| Node::from_json(text, &origin)));
            let reference = reference.flatten().filter(|node| matches!(node.value, Value::Table(_)));
            return Ok(reference.unwrap_or_else(|| Node::text(text, origin)));
        }
        Shape::Words(_) => return Ok(Node::text(text, origin)),
        _ => {}
    }
    Node::from_toml(text, &origin)
        .or_else(|| Node::from_json(text, &origin))
        .ok_or_else(|| Fault {
            place: Place::Environment { name: name.to_owned() },
            key: String::new(),
            problem: "this reads neither as TOML nor as JSON".to_owned(),
            help: Some(format!("write {}, for example {}", shape.wanted(), example(&shape))),
        })
}

fn example(shape: &Shape<'_>) -> &'static str {
    match shape {
        Shape::Array(_) => "[\"a\", \"b\"]",
        Shape::Table { .. } | Shape::Map(_) => "{ key = \"value\" }",
        Shape::Bool => "true",
        _ => "1",
    }
}

fn help_for_unknown(name: &str, schema: &Json, known: &[String]) -> String {
    let tables = schema["properties"].as_object();
    let table = name[PREFIX.len()..].to_lowercase();
    if name == "AEGIS_LOG" {
        return "for what is logged set AEGIS_LOGGING__FILTER, for the kind of log AEGIS_LOG__KIND".to_owned();
    }
    let variables: Vec<String> = known.iter().map(|key| variable_of(key)).collect();
    // `AEGIS_DATA_DIR` is nearer to being right than any measure of letters says.
    let squeezed = |name: &str| name.replace('_', "").to_lowercase();
    if let Some(meant) = variables.iter().find(|variable| squeezed(variable) == squeezed(name)) {
        return format!("did you mean {meant}? (two underscores between table and key)");
    }
    if tables.is_some_and(|tables| tables.contains_key(&table)) {
        return format!("it names a table; name a key in it: {name}__KEY");
    }
    match nearest(name, variables.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "see `aegis config docs` for the settings; the form is AEGIS_TABLE__KEY".to_owned(),
    }
}
