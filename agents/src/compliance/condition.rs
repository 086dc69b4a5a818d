//! A condition of a policy: one field of a fact, and one test of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveTime};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// As it is written. Of `field` and `any` exactly one, and exactly one test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// A field of the fact; `labels.approved_by` is a field within `labels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Several fields, of which one is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any: Vec<String>,
    /// There is such a field, and it is neither null nor an empty text or list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub among: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_in: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Both fields are there, and are not equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs_from: Option<String>,
    /// A regular expression that a text matches somewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// A time lies within days and hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Window>,
}

/// Hours of some days of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    pub days: Vec<String>,
    /// `HH:MM`, included.
    pub from: String,
    /// `HH:MM`, not included; later than `from`.
    pub to: String,
    #[serde(default)]
    pub utc_offset_minutes: i32,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

type Fields = BTreeMap<String, Value>;

impl Condition {
    /// What is wrong with it.
    pub fn fault(&self) -> Option<String> {
        if self.field.is_some() != self.any.is_empty() {
            return Some("name one `field`, or several in `any`".to_owned());
        }
        let tests = [
            self.present.is_some(),
            self.equals.is_some(),
            self.among.is_some(),
            self.not_in.is_some(),
            self.at_most.is_some(),
            self.at_least.is_some(),
            self.differs_from.is_some(),
            self.matches.is_some(),
            self.within.is_some(),
        ];
        if tests.iter().filter(|there| **there).count() != 1 {
            let names = "present, equals, in, not_in, at_most, at_least, differs_from, matches, within";
            return Some(format!("write exactly one test: {names}"));
        }
        if let Some(pattern) = &self.matches
            && let Err(fault) = Regex::new(pattern)
        {
            return Some(format!("matches is no regular expression: {fault}"));
        }
        let window = self.within.as_ref()?;
        if window.days.is_empty() || window.days.iter().any(|day| !DAYS.contains(&day.as_str())) {
            return Some(format!("within.days: write some of {}", DAYS.join(", ")));
        }
        match (time(&window.from), time(&window.to)) {
            (Some(from), Some(to)) if from < to => {}
            _ => return Some("within: write from and to as HH:MM, to later than from".to_owned()),
        }
        if FixedOffset::east_opt(window.utc_offset_minutes.saturating_mul(60)).is_none() {
            return Some("within.utc_offset_minutes is no offset".to_owned());
        }
        None
    }

    /// Whether it holds. What is not there fails every test but `present = false` and `not_in`.
    pub fn holds(&self, fields: &Fields) -> bool {
        match &self.field {
            Some(field) => self.holds_for(find(fields, field), fields),
            None => self.any.iter().any(|field| self.holds_for(find(fields, field), fields)),
        }
    }

    fn holds_for(&self, value: Option<&Value>, fields: &Fields) -> bool {
        let value = value.filter(|value| !empty(value));
        if let Some(present) = self.present {
            return value.is_some() == present;
        }
        if let Some(list) = &self.not_in {
            return value.is_none_or(|value| !list.iter().any(|one| same(one, value)));
        }
        let Some(value) = value else { return false };
        if let Some(wanted) = &self.equals {
            return same(wanted, value);
        }
        if let Some(list) = &self.among {
            return list.iter().any(|one| same(one, value));
        }
        if let Some(most) = self.at_most {
            return value.as_f64().is_some_and(|number| number <= most);
        }
        if let Some(least) = self.at_least {
            return value.as_f64().is_some_and(|number| number >= least);
        }
        if let Some(other) = &self.differs_from {
            return find(fields, other).is_some_and(|other| !empty(other) && !same(other, value));
        }
        if let Some(pattern) = &self.matches {
            let regex = Regex::new(pattern);
            return regex.is_ok_and(|regex| value.as_str().is_some_and(|text| regex.is_match(text)));
        }
        let Some(window) = &self.within else { return false };
        value.as_str().is_some_and(|text| window.holds(text))
    }
}

impl Window {
    fn holds(&self, at: &str) -> bool {
        let offset = FixedOffset::east_opt(self.utc_offset_minutes.saturating_mul(60));
        let (Ok(at), Some(offset)) = (DateTime::parse_from_rfc3339(at), offset) else {
            return false;
        };
        let at = at.with_timezone(&offset);
        let day = DAYS[at.weekday().num_days_from_monday() as usize];
        let (Some(from), Some(to)) = (time(&self.from), time(&self.to)) else {
            return false;
        };
        self.days.iter().any(|one| one == day) && (from..to).contains(&at.time())
    }
}

fn time(text: &str) -> Option<NaiveTime> {
    NaiveTime::parse_from_str(text, "%H:%M").ok()
}

/// A name with dots is looked up whole first: labels may hold dots.
fn find<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    if let Some(found) = fields.get(name) {
        return Some(found);
    }
    let (head, tail) = name.split_once('.')?;
    let mut within = fields.get(head)?;
    let mut rest = tail;
    loop {
        if let Some(found) = within.get(rest) {
            return Some(found);
        }
        let (head, tail) = rest.split_once('.')?;
        within = within.get(head)?;
        rest = tail;
    }
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Texts of any case, numbers of any kind.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one.eq_ignore_ascii_case(other),
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(written: Value) -> Condition {
        serde_json::from_value(written).unwrap()
    }

    #[test]
    fn conditions() {
        let fields: Fields = serde_json::from_value(json!({
            "n": 3, "word": "Prod", "none": null, "blank": " ", "list": [], "yes": true, "labels": {"a.b": "x", "c": {"d": "y"}},
            "at": "2026-11-30T05:30:00Z",
        }))
        .unwrap();
        let check = |written: Value, expected: bool| {
            let condition = condition(written.clone());
            assert_eq!(condition.fault(), None, "{written}");
            assert_eq!(condition.holds(&fields), expected, "{written}");
        };
        for (field, present) in [
            ("n", true),
            ("yes", true),
            ("none", false),
            ("blank", false),
            ("list", false),
            ("no", false),
            ("labels.a.b", true),
            ("labels.c.d", true),
            ("labels.c.e", false),
        ] {
            check(json!({"field": field, "present": true}), present);
            check(json!({"field": field, "present": false}), !present);
        }
        check(json!({"any": ["no", "n"], "at_most": 3}), true);
        check(json!({"any": ["no", "none"], "at_most": 3}), false);
        check(json!({"field": "n", "at_least": 3.5}), false);
        check(json!({"field": "word", "in": ["prod"]}), true);
        check(json!({"field": "word", "not_in": ["prod"]}), false);
        check(json!({"field": "no", "not_in": ["prod"]}), true);
        check(json!({"field": "n", "equals": 3.0}), true);
        check(json!({"field": "word", "at_most": 3}), false);
        check(json!({"field": "n", "differs_from": "word"}), true);
        check(json!({"field": "n", "differs_from": "none"}), false);
        check(json!({"field": "word", "matches": "^P"}), true);
        let window = |offset: i32, day: &str| json!({"field": "at", "within": {"days": [day], "from": "06:00", "to": "20:00", "utc_offset_minutes": offset}});
        check(window(0, "mon"), false);
        check(window(60, "mon"), true);
        check(window(60, "sun"), false);
        check(
            json!({"field": "word", "within": {"days": ["mon"], "from": "00:00", "to": "23:59"}}),
            false,
        );
    }

    #[test]
    fn faults() {
        let check = |written: Value, expected: &str| {
            let fault = condition(written).fault().unwrap();
            assert!(fault.contains(expected), "{fault}");
        };
        check(json!({"present": true}), "one `field`");
        check(json!({"field": "a", "any": ["b"], "present": true}), "one `field`");
        check(json!({"field": "a"}), "exactly one test");
        check(json!({"field": "a", "present": true, "at_most": 1}), "exactly one test");
        check(json!({"field": "a", "matches": "("}), "no regular expression");
        let window =
            |days: Value, from: &str, to: &str| json!({"field": "a", "within": {"days": days, "from": from, "to": to}});
        check(window(json!(["monday"]), "06:00", "20:00"), "within.days");
        check(window(json!(["mon"]), "20:00", "06:00"), "later than from");
        check(window(json!(["mon"]), "6", "20:00"), "HH:MM");
    }
}
