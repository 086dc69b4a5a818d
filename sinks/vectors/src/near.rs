//! The features that two incidents share, and what they weigh. Pure.
//!
//! A cosine alone cannot be argued with; "same service, same log template" can. So each neighbour says what it has in common, and features
//! weigh in: words of the model decide among all past incidents, hard features among the nearest.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Something that two incidents have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// `service`, `environment`, `alert`, `template`, `label`, `words`, `vector`.
    pub feature: String,
    /// What it is: the service's name, `team=shop`, the shared words, the cosine.
    pub value: String,
}

impl Matched {
    pub fn new(feature: &str, value: impl Into<String>) -> Self {
        Matched {
            feature: feature.to_owned(),
            value: value.into(),
        }
    }
}

/// What an incident can be compared by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    pub service: String,
    pub environment: String,
    /// Alerts by dedup key, each with its title.
    pub alerts: BTreeMap<String, String>,
    /// Log templates by id, each with its text.
    pub templates: BTreeMap<String, String>,
    pub labels: BTreeSet<(String, String)>,
    /// Titles and other texts.
    pub text: String,
}

/// Shares of the score: the cosine, and what is added for hard features. A neighbour with all of them and a cosine of 1 has 1.
const COSINE: f32 = 0.7;
const SERVICE: f32 = 0.1;
const SAME_ALERT: f32 = 0.1;
const DETAILS: f32 = 0.1;
/// Labels and words of which more add nothing.
const ENOUGH_DETAILS: usize = 6;

/// Labels and words that are named.
const MOST_NAMED: usize = 8;

/// Labels that say how bad it is, or what another feature says.
const NO_EVIDENCE: [&str; 8] = [
    "severity",
    "level",
    "priority",
    "reason",
    "service",
    "environment",
    "env",
    "template",
];

/// Words of titles that say nothing.
const EMPTY_WORDS: [&str; 20] = [
    "the", "and", "for", "with", "from", "this", "that", "has", "have", "are", "was", "not", "above", "below", "than",
    "too", "new", "error", "alert", "logs",
];

/// What both have, the strongest first, and the score from 0 to 1.
pub fn compare(one: &Features, other: &Features, cosine: f32) -> (Vec<Matched>, f32) {
    let mut matched = Vec::new();
    let mut score = COSINE * cosine.clamp(0.0, 1.0);
    if !one.service.is_empty() && one.service == other.service {
        score += SERVICE;
        matched.push(Matched::new("service", one.service.as_str()));
    }
    let alerts = one.alerts.iter().filter(|(key, _)| other.alerts.contains_key(*key));
    let alerts: Vec<Matched> = alerts.map(|(_, title)| Matched::new("alert", title.as_str())).collect();
    let templates = one.templates.iter().filter(|(id, _)| other.templates.contains_key(*id));
    let templates: Vec<Matched> = templates
        .map(|(_, text)| Matched::new("template", text.as_str()))
        .collect();
    if !alerts.is_empty() || !templates.is_empty() {
        score += SAME_ALERT;
    }
    matched.extend(alerts.into_iter().take(MOST_NAMED));
    matched.extend(templates.into_iter().take(MOST_NAMED));
    let labels: Vec<Matched> = one
        .labels
        .intersection(&other.labels)
        .filter(|(name, _)| !NO_EVIDENCE.contains(&name.as_str()))
        .map(|(name, value)| Matched::new("label", format!("{name}={value}")))
        .collect();
    let (mine, theirs) = (words(&one.text), words(&other.text));
    let shared: Vec<&str> = mine.intersection(&theirs).map(String::as_str).collect();
    let details = (labels.len() + shared.len()).min(ENOUGH_DETAILS);
    score += DETAILS * details as f32 / ENOUGH_DETAILS as f32;
    matched.extend(labels.into_iter().take(MOST_NAMED));
    if !shared.is_empty() {
        let named: Vec<&str> = shared.into_iter().take(MOST_NAMED).collect();
        matched.push(Matched::new("words", named.join(" ")));
    }
    if !one.environment.is_empty() && one.environment == other.environment {
        matched.push(Matched::new("environment", one.environment.as_str()));
    }
    matched.push(Matched::new("vector", format!("{cosine:.2}")));
    (matched, score.clamp(0.0, 1.0))
}

/// The words of a text that say something, in small letters.
fn words(text: &str) -> BTreeSet<String> {
    let text = text.to_lowercase();
    let parts = text.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
    parts
        .map(|word| word.trim_matches(['-', '_']))
        .filter(|word| word.chars().count() >= 3 && word.chars().any(char::is_alphabetic))
        .filter(|word| !EMPTY_WORDS.contains(word))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(service: &str, alert: &str, label: &str, text: &str) -> Features {
        Features {
            service: service.into(),
            environment: "production".into(),
            alerts: [(alert.to_owned(), format!("title of {alert}"))].into(),
            templates: BTreeMap::new(),
            labels: [
                ("team".to_owned(), label.to_owned()),
                ("severity".to_owned(), "critical".to_owned()),
            ]
            .into(),
            text: text.into(),
        }
    }

    #[test]
    fn what_both_have_is_named_and_weighs() {
        let one = features("api", "a1", "shop", "High memory usage on api (95%)");
        let check = |other: &Features, cosine: f32, named: &[&str]| -> f32 {
            let (matched, score) = compare(&one, other, cosine);
            let found: Vec<String> = matched.iter().map(|m| format!("{}:{}", m.feature, m.value)).collect();
            assert_eq!(found, named);
            score
        };
        let same = check(
            &one,
            1.0,
            &[
                "service:api",
                "alert:title of a1",
                "label:team=shop",
                "words:api high memory usage",
                "environment:production",
                "vector:1.00",
            ],
        );
        let near = check(
            &features("web", "a2", "shop", "Memory is exhausted"),
            0.8,
            &[
                "label:team=shop",
                "words:memory",
                "environment:production",
                "vector:0.80",
            ],
        );
        let far = check(
            &features("web", "a2", "infra", "Certificate expires"),
            0.8,
            &["environment:production", "vector:0.80"],
        );
        assert!(same > near && near > far && same <= 1.0, "{same} {near} {far}");
        let shuffled = compare(&features("web", "a2", "infra", "x"), &one, -0.3);
        assert_eq!(shuffled.1, 0.0, "unlike is not less than nothing");
    }

    #[test]
    fn a_shared_template_is_as_good_as_a_shared_alert() {
        let with = |id: &str| Features {
            templates: [(id.to_owned(), "Java heap space".to_owned())].into(),
            ..Features::default()
        };
        let (matched, score) = compare(&with("t1"), &with("t1"), 0.5);
        assert_eq!(matched[0], Matched::new("template", "Java heap space"));
        assert!(score > compare(&with("t1"), &with("t2"), 0.5).1);
    }

    #[test]
    fn numbers_and_filling_words_are_no_words() {
        let found: Vec<String> = words("The CPU of web-7 is above 95 % (95%) -- for_ x")
            .into_iter()
            .collect();
        assert_eq!(found, ["cpu", "web-7"]);
    }
}
