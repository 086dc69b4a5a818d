//! From checked JSON to the typed settings, naming every key that their own reading refuses.
//!
//! serde stops at the first error and does not say where it was. Every setting has a default, so each one can be read
//! alone: the ones that fail alone are at fault, and the rest is read together.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::shape::Shape;
use super::walk::join;

/// A key (as path steps) and what its type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub path: Vec<String>,
    pub problem: String,
}

/// The settings, and the keys that were left out because they are refused. `Err` when no single key explains it.
pub fn read<T: DeserializeOwned>(mut json: Json, schema: &Json) -> Result<(T, Vec<Refused>), String> {
    let problem = match serde_json::from_value(json.clone()) {
        Ok(settings) => return Ok((settings, Vec::new())),
        Err(e) => e.to_string(),
    };
    let mut leaves = Vec::new();
    collect(&json, schema, &mut Vec::new(), &mut leaves);
    let mut refused = Vec::new();
    for (path, value) in leaves {
        let alone = path.iter().rev().fold(value, |inner, step| {
            Json::Object(Map::from_iter([(step.clone(), inner)]))
        });
        if let Err(e) = serde_json::from_value::<T>(alone) {
            remove(&mut json, &path);
            refused.push(Refused {
                path,
                problem: e.to_string(),
            });
        }
    }
    if refused.is_empty() {
        return Err(problem);
    }
    match serde_json::from_value(json) {
        Ok(settings) => Ok((settings, refused)),
        Err(e) => Err(e.to_string()),
    }
}

impl Refused {
    pub fn key(&self) -> String {
        self.path.iter().fold(String::new(), |path, step| join(&path, step))
    }
}

/// Values that can be read alone: those in tables without required keys.
fn collect(json: &Json, schema: &Json, path: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, Json)>) {
    if let (Shape::Table { keys, required }, Json::Object(fields)) = (Shape::of(schema), json)
        && required.is_empty()
    {
        for (name, value) in fields {
            path.push(name.clone());
            collect(value, keys.get(name).unwrap_or(&Json::Null), path, leaves);
            path.pop();
        }
    } else {
        leaves.push((path.clone(), json.clone()));
    }
}

fn remove(json: &mut Json, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let Some(fields) = json.as_object_mut() else { return };
    if rest.is_empty() {
        fields.remove(first);
    } else if let Some(inner) = fields.get_mut(first) {
        remove(inner, rest);
    }
}
