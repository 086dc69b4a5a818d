//! The rules of one mapper: JSONPath (RFC 9535, <https://www.rfc-editor.org/rfc/rfc9535>) where a rule begins with `$`, else the text as it
//! stands. They are read once; a rule that cannot be read is a fault of the configuration that names its key.

use std::collections::BTreeMap;

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use model::{SignalKind, SignalState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::normalize::fault::Fault;
use crate::normalize::json::{MAX_LABELS, MAX_VALUE_BYTES};
use crate::normalize::time;

/// How JSON of one kind becomes signals. A rule that begins with `$` is a JSONPath (RFC 9535) into the element, and its first hit
/// counts; any other rule is the text itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MapperSettings {
    /// JSONPath into the body; each hit is an element and becomes one signal. Empty: the body is the element.
    pub each: String,
    /// What the signals are: `alert`, `change`, `security`, `cluster_event`, `log_pattern`.
    pub kind: String,
    /// Where the state's word is. Empty: what is sent merely happened (an event).
    pub state: String,
    /// Words of `state` for what fires, ignoring case, here and below.
    pub firing: Vec<String>,
    /// Words for what is over.
    pub resolved: Vec<String>,
    /// Words for what somebody took up.
    pub acknowledged: Vec<String>,
    /// Words for what merely happened.
    pub event: Vec<String>,
    /// What makes two elements the same alert: rules that all must hit. Required where there is a `state`; without, an element is
    /// known by its content.
    pub identity: Vec<String>,
    /// Stands in `dedup_rule`; to be raised when `identity` changes.
    pub version: u32,
    /// How bad it is: any common word (`critical`, `P1`, `warning`, …). Empty, or no hit: label `severity`, `priority` or `level`.
    pub severity: String,
    /// The signal's title. Empty, or no hit: the mapper's name and the identity.
    pub title: String,
    /// More words about it.
    pub description: String,
    /// The service that it is about. Empty, or no hit: from the labels.
    pub service: String,
    /// The environment that it is about. Empty, or no hit: from the labels.
    pub environment: String,
    /// A group that the sender declared.
    pub group: String,
    /// When it was said. Empty, or no hit: when it was received.
    pub at: String,
    /// Since when it fires. Empty, or no hit: the sender names no firing, and event time decides which is meant.
    pub starts_at: String,
    /// When it was over. Empty, or no hit: `at`.
    pub ends_at: String,
    /// Unit of times that are numbers. Texts are RFC 3339.
    pub time_unit: TimeUnit,
    /// Label to rule.
    pub labels: BTreeMap<String, String>,
    /// JSONPaths to objects whose members become labels; `labels` comes before them.
    pub labels_from: Vec<String>,
}

/// Unit of a number of time since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TimeUnit {
    #[default]
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Default for MapperSettings {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        MapperSettings {
            each: String::new(),
            kind: "alert".to_owned(),
            state: String::new(),
            firing: words(&["firing", "alerting", "triggered", "trigger", "open", "down", "problem"]),
            resolved: words(&[
                "resolved",
                "resolve",
                "ok",
                "closed",
                "close",
                "up",
                "recovered",
                "recovery",
            ]),
            acknowledged: words(&["acknowledged", "acknowledge", "ack"]),
            event: words(&["event", "info"]),
            identity: Vec::new(),
            version: 1,
            severity: String::new(),
            title: String::new(),
            description: String::new(),
            service: String::new(),
            environment: String::new(),
            group: String::new(),
            at: String::new(),
            starts_at: String::new(),
            ends_at: String::new(),
            time_unit: TimeUnit::Seconds,
            labels: BTreeMap::new(),
            labels_from: Vec::new(),
        }
    }
}

impl MapperSettings {
    /// Every fault, as key below the mapper's own table and problem.
    pub fn faults(&self) -> Vec<(String, String)> {
        match Mapper::new(self) {
            Ok(_) => Vec::new(),
            Err(faults) => faults,
        }
    }
}

/// A rule, read.
#[derive(Clone, Debug)]
pub enum Rule {
    Path(JpQuery),
    Text(String),
}

impl Rule {
    fn read(text: &str) -> Result<Self, String> {
        if !text.starts_with('$') {
            return Ok(Rule::Text(text.to_owned()));
        }
        let path = parse_json_path(text).map(Rule::Path);
        path.map_err(|_| format!("{text:?} is no JSONPath (RFC 9535), for example `$.alert.id` or `$['labels'].host`"))
    }

    /// Everything that it hits. A text hits itself, and is no element.
    pub fn all<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Rule::Path(path) => {
                // A path that was read fails on no value.
                let hits = js_path_process(path, value).unwrap_or_default();
                hits.into_iter().map(|hit| hit.val()).collect()
            }
            Rule::Text(_) => Vec::new(),
        }
    }

    fn text(&self, value: &Value) -> Option<String> {
        match self {
            Rule::Text(text) => Some(text.clone()),
            Rule::Path(_) => self.all(value).into_iter().find_map(text_of),
        }
    }
}

/// A single value as text; a list or an object as JSON.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Rules that can be used.
#[derive(Clone, Debug)]
pub struct Mapper {
    pub each: Option<Rule>,
    pub kind: SignalKind,
    state: Option<Rule>,
    words: Vec<(SignalState, Vec<String>)>,
    identity: Vec<(String, Rule)>,
    version: u32,
    /// By the key that sets it.
    said: BTreeMap<&'static str, (String, Rule)>,
    unit: TimeUnit,
    labels: Vec<(String, Rule)>,
    labels_from: Vec<Rule>,
}

impl Mapper {
    /// Or its faults, as key and problem.
    pub fn new(settings: &MapperSettings) -> Result<Self, Vec<(String, String)>> {
        let mut faults = Vec::new();
        let mut read = |key: String, text: &str| match Rule::read(text) {
            Ok(rule) => Some(rule),
            Err(problem) => {
                faults.push((key, problem));
                None
            }
        };
        let filled = |text: &str| !text.is_empty();
        let path = |rule: &Option<Rule>| matches!(rule, Some(Rule::Path(_)) | None);
        let each = Some(&settings.each)
            .filter(|text| filled(text))
            .map(|text| read("each".into(), text));
        let state = Some(&settings.state)
            .filter(|text| filled(text))
            .map(|text| read("state".into(), text));
        let texts = [
            ("severity", &settings.severity),
            ("title", &settings.title),
            ("description", &settings.description),
            ("service", &settings.service),
            ("environment", &settings.environment),
            ("group", &settings.group),
            ("at", &settings.at),
            ("starts_at", &settings.starts_at),
            ("ends_at", &settings.ends_at),
        ];
        let mut said = BTreeMap::new();
        for (key, text) in texts.into_iter().filter(|(_, text)| filled(text)) {
            if let Some(rule) = read(key.to_owned(), text) {
                said.insert(key, (text.clone(), rule));
            }
        }
        let mut identity = Vec::new();
        for text in &settings.identity {
            identity.extend(read("identity".into(), text).map(|rule| (text.clone(), rule)));
        }
        let mut labels = Vec::new();
        for (name, text) in &settings.labels {
            labels.extend(read(format!("labels.{name}"), text).map(|rule| (name.clone(), rule)));
        }
        let mut labels_from = Vec::new();
        for text in &settings.labels_from {
            labels_from.extend(read("labels_from".into(), text));
        }
        let kind = SignalKind::parse(&settings.kind);
        let mut fault = |key: &str, problem: &str| faults.push((key.to_owned(), problem.to_owned()));
        let unread = |rules: &Option<Option<Rule>>| matches!(rules, Some(rule) if !path(rule));
        if unread(&each) {
            fault("each", "is no JSONPath: begin it with `$`, or leave it empty");
        }
        if unread(&state) {
            fault("state", "is no JSONPath: begin it with `$`, or leave it empty");
        }
        if labels_from.iter().any(|rule| matches!(rule, Rule::Text(_))) {
            fault("labels_from", "holds what is no JSONPath: begin it with `$`");
        }
        if kind.is_none() {
            fault("kind", "is none of alert, change, security, cluster_event, log_pattern");
        }
        if filled(&settings.state) && settings.identity.is_empty() {
            fault(
                "identity",
                "is empty, so nobody could tell which alert a state is about: name what makes it one",
            );
        }
        if filled(&settings.state) && settings.kind == "change" {
            fault("state", "is set, and a change has none: leave it empty");
        }
        let (Some(kind), true) = (kind, faults.is_empty()) else {
            return Err(faults);
        };
        let lower = |words: &[String]| words.iter().map(|word| word.to_lowercase()).collect();
        Ok(Mapper {
            each: each.flatten(),
            kind,
            state: state.flatten(),
            words: vec![
                (SignalState::Firing, lower(&settings.firing)),
                (SignalState::Resolved, lower(&settings.resolved)),
                (SignalState::Acknowledged, lower(&settings.acknowledged)),
                (SignalState::Event, lower(&settings.event)),
            ],
            identity,
            version: settings.version,
            said,
            unit: settings.time_unit,
            labels,
            labels_from,
        })
    }

    /// The state, as the element's word says.
    pub fn state(&self, element: &Value) -> Result<SignalState, Fault> {
        let Some(rule) = &self.state else {
            return Ok(SignalState::Event);
        };
        let Some(word) = rule.text(element) else {
            return Err(Fault::new(
                "missing_field",
                "",
                "the rule `state` hits nothing in the element",
            ));
        };
        let lower = word.to_lowercase();
        let known = self.words.iter().find(|(_, words)| words.contains(&lower));
        known.map(|(state, _)| *state).ok_or_else(|| {
            let shown: String = word.chars().take(40).collect();
            let detail = format!("the rule `state` found {shown:?}, which is none of the words for firing, resolved, acknowledged and event");
            Fault::new("bad_value", "", detail)
        })
    }

    /// What makes the element itself. Empty where no rule says so.
    pub fn identity(&self, element: &Value) -> Result<Vec<String>, Fault> {
        let part = |(text, rule): &(String, Rule)| {
            let hit = rule.text(element);
            hit.ok_or_else(|| {
                Fault::new(
                    "missing_field",
                    "",
                    format!("the rule `identity` {text:?} hits nothing in the element"),
                )
            })
        };
        self.identity.iter().map(part).collect()
    }

    /// Name and version of what makes keys.
    pub fn rule(&self, name: &str) -> String {
        format!("json/{name}@{}", self.version)
    }

    pub fn text(&self, field: &str, element: &Value) -> Option<String> {
        self.said.get(field)?.1.text(element)
    }

    pub fn time(&self, field: &str, element: &Value) -> Result<Option<i64>, Fault> {
        let Some((written, rule)) = self.said.get(field) else {
            return Ok(None);
        };
        let hit = match rule {
            Rule::Text(text) => return self.moment(field, written, &Value::String(text.clone())),
            Rule::Path(_) => rule.all(element).into_iter().find(|value| !value.is_null()),
        };
        hit.map_or(Ok(None), |value| self.moment(field, written, value))
    }

    fn moment(&self, field: &str, written: &str, value: &Value) -> Result<Option<i64>, Fault> {
        let at = match value {
            Value::String(text) if text.is_empty() => return Ok(None),
            Value::String(text) => time::parse(text),
            Value::Number(number) => self.unit.micros(number),
            _ => None,
        };
        if at == Some(time::GO_ZERO) {
            return Ok(None);
        }
        let bad = || {
            let shown: String = value.to_string().chars().take(40).collect();
            let detail = format!(
                "the rule `{field}` {written:?} found {shown}, which is neither RFC 3339 nor a number of {:?}",
                self.unit
            );
            Fault::new("bad_time", "", detail)
        };
        at.map(Some).ok_or_else(bad)
    }

    /// Labels by name; the rules for single ones come before whole objects.
    pub fn labels(&self, element: &Value) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for (name, rule) in &self.labels {
            labels.extend(rule.text(element).map(|text| (name.clone(), text)));
        }
        for rule in &self.labels_from {
            for object in rule.all(element).into_iter().filter_map(Value::as_object) {
                for (name, value) in object {
                    let plain = !value.is_object() && !value.is_array();
                    if let (true, false, Some(text)) = (plain, labels.contains_key(name), text_of(value)) {
                        labels.insert(name.clone(), text);
                    }
                }
            }
        }
        labels.retain(|name, value| name.len() <= MAX_VALUE_BYTES && value.len() <= MAX_VALUE_BYTES);
        while labels.len() > MAX_LABELS {
            labels.pop_last();
        }
        labels
    }
}

impl TimeUnit {
    fn micros(self, number: &serde_json::Number) -> Option<i64> {
        let (times, by) = match self {
            TimeUnit::Seconds => (1_000_000, 1),
            TimeUnit::Milliseconds => (1_000, 1),
            TimeUnit::Microseconds => (1, 1),
            TimeUnit::Nanoseconds => (1, 1_000),
        };
        let at = match number.as_i64() {
            Some(whole) => whole.checked_mul(times)?.div_euclid(by),
            None => {
                let at = number.as_f64()? * times as f64 / by as f64;
                (at.abs() < 1e18).then_some(at as i64)?
            }
        };
        (time::MIN..=time::MAX).contains(&at).then_some(at)
    }
}

/// All mappers, read.
#[derive(Clone, Debug, Default)]
pub struct Mappers(BTreeMap<String, Mapper>);

impl Mappers {
    /// Those of `settings` that can be used. [`MapperSettings::faults`] is asked before: a mapper with faults is not started with.
    pub fn new(settings: &BTreeMap<String, MapperSettings>) -> Self {
        let read = |(name, one): (&String, &MapperSettings)| Some((name.clone(), Mapper::new(one).ok()?));
        Mappers(settings.iter().filter_map(read).collect())
    }

    pub fn get(&self, name: &str) -> Option<&Mapper> {
        self.0.get(name)
    }
}
