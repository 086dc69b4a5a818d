//! The dashboards as they lie in the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// `dashboards/` of the repository.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// A YAML file below `dashboards/`.
pub fn yaml(path: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// One dashboard.
pub struct Board {
    pub path: PathBuf,
    pub text: String,
    pub json: Value,
}

/// What a dashboard asks for.
#[derive(Debug)]
pub struct Query {
    /// Dashboard, panel and target, for a failure's text.
    pub place: String,
    /// The panel's type; `annotation` and `variable` for those.
    pub kind: String,
    /// `time_series` or `table`.
    pub format: String,
    /// SQL or PromQL, with macros and variables.
    pub text: String,
    /// Asked once, for now.
    pub instant: bool,
    /// Columns that the panel's settings name.
    pub named: Vec<String>,
}

impl Board {
    pub fn all() -> Vec<Board> {
        let folder = folder().join("grafana/dashboards");
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
            .expect("the dashboards' folder")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .collect();
        paths.sort();
        paths.into_iter().map(Board::read).collect()
    }

    fn read(path: PathBuf) -> Board {
        let text = std::fs::read_to_string(&path).expect("a dashboard");
        let json = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Board { path, text, json }
    }

    pub fn uid(&self) -> &str {
        text(&self.json, "uid")
    }

    /// All panels but rows, those of collapsed rows included.
    pub fn panels(&self) -> Vec<&Value> {
        let top = list(&self.json["panels"]);
        let inside = top.iter().flat_map(|panel| list(&panel["panels"]));
        top.iter()
            .chain(inside)
            .filter(|panel| panel["type"] != "row")
            .collect()
    }

    pub fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    pub fn annotations(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["annotations"]["list"])
            .iter()
            .filter(|one| one["builtIn"] != 1)
    }

    /// Every SQL query: of panels, annotations and variables.
    pub fn sql(&self) -> Vec<Query> {
        let mut all = self.of_panels("rawSql");
        for one in self.annotations() {
            all.push(Query {
                place: format!("{}: annotation {}", self.uid(), text(one, "name")),
                kind: "annotation".to_owned(),
                format: text(&one["target"], "format").to_owned(),
                text: text(&one["target"], "rawSql").to_owned(),
                instant: false,
                named: Vec::new(),
            });
        }
        for one in self.variables().iter().filter(|one| one["type"] == "query") {
            all.push(Query {
                place: format!("{}: variable {}", self.uid(), text(one, "name")),
                kind: "variable".to_owned(),
                format: "table".to_owned(),
                text: text(one, "query").to_owned(),
                instant: false,
                named: Vec::new(),
            });
        }
        all
    }

    /// Every PromQL query.
    pub fn promql(&self) -> Vec<Query> {
        self.of_panels("expr")
    }

    fn of_panels(&self, member: &str) -> Vec<Query> {
        let mut all = Vec::new();
        for panel in self.panels() {
            for target in list(&panel["targets"])
                .iter()
                .filter(|target| target[member].is_string())
            {
                all.push(Query {
                    place: format!("{}: {} ({})", self.uid(), text(panel, "title"), text(target, "refId")),
                    kind: text(panel, "type").to_owned(),
                    format: text(target, "format").to_owned(),
                    text: text(target, member).to_owned(),
                    instant: target["instant"] == true,
                    named: named(panel),
                });
            }
        }
        all
    }

    /// Every URL that the dashboard links to.
    pub fn links(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        walk(&self.json, &mut |name, value| {
            if name == "url"
                && let Some(url) = value.as_str().filter(|url| !url.is_empty())
            {
                found.insert(url.to_owned());
            }
        });
        found
    }

    /// Uids of data sources, wherever one is named.
    pub fn data_sources(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(&self.json, &mut |name, value| {
            if name == "datasource" && value.is_object() {
                found.insert(text(value, "uid").to_owned(), text(value, "type").to_owned());
            }
        });
        found
    }

    /// The file as the repository keeps it: keys in order, two spaces, a line feed at the end. What Grafana exports becomes small changes.
    pub fn formatted(&self) -> String {
        let ordered: BTreeMap<String, Ordered> = serde_json::from_value(self.json.clone()).expect("an object");
        let mut text = serde_json::to_string_pretty(&ordered).expect("JSON");
        text.push('\n');
        text
    }
}

/// JSON whose objects are in the order of their keys, whatever the features of serde_json.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum Ordered {
    Object(BTreeMap<String, Ordered>),
    Array(Vec<Ordered>),
    Other(Value),
}

/// Columns that field overrides or an axis name; the axis last.
fn named(panel: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for one in list(&panel["fieldConfig"]["overrides"]) {
        if one["matcher"]["id"] == "byName" {
            names.push(text(&one["matcher"], "options").to_owned());
        }
    }
    names.extend(panel["options"]["xField"].as_str().map(str::to_owned));
    names
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

fn walk<'a>(value: &'a Value, seen: &mut impl FnMut(&'a str, &'a Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                seen(name, member);
                walk(member, seen);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, seen)),
        _ => {}
    }
}
