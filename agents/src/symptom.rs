//! What an alert is about, from the words of its name. The words pick one of these rows and nothing else.

use serde::{Deserialize, Serialize};

use crate::settings::{AgentSettings, SymptomSettings};

/// Kinds of symptom, each measured by expressions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Symptom {
    Memory,
    Cpu,
    Latency,
    Errors,
    Availability,
}

/// First match counts. A `*` stands for any letters at that end.
const WORDS: &[(Symptom, &[&str])] = &[
    (Symptom::Memory, &["memory", "mem", "oom*", "heap", "rss", "swap"]),
    (Symptom::Cpu, &["cpu", "throttl*", "load"]),
    (
        Symptom::Latency,
        &[
            "latency", "slow*", "duration", "p50", "p90", "p95", "p99", "timeout*", "lag",
        ],
    ),
    (
        Symptom::Errors,
        &["error*", "*5xx", "500s", "exception*", "fail*", "burn", "slo", "budget"],
    ),
    (
        Symptom::Availability,
        &[
            "down",
            "unavailable",
            "unreachable",
            "absent",
            "missing",
            "crash*",
            "restart*",
            "ready",
            "notready",
            "availability",
            "probe",
            "up",
            "replicas",
        ],
    ),
];

impl Symptom {
    pub fn as_str(self) -> &'static str {
        match self {
            Symptom::Memory => "memory",
            Symptom::Cpu => "cpu",
            Symptom::Latency => "latency",
            Symptom::Errors => "errors",
            Symptom::Availability => "availability",
        }
    }

    /// What its level is, for a sentence.
    pub fn level_name(self) -> &'static str {
        match self {
            Symptom::Memory => "memory usage of the limit",
            Symptom::Cpu => "CPU usage of the limit",
            Symptom::Latency => "99th percentile of the response time",
            Symptom::Errors => "share of failed requests",
            Symptom::Availability => "share of instances that are down",
        }
    }

    /// `95 %` or `2.4 s`.
    pub fn show(self, value: f64) -> String {
        match self {
            Symptom::Latency => format!("{value:.2} s"),
            _ => format!("{:.1} %", value * 100.0),
        }
    }

    pub fn settings(self, settings: &AgentSettings) -> &SymptomSettings {
        match self {
            Symptom::Memory => &settings.memory,
            Symptom::Cpu => &settings.cpu,
            Symptom::Latency => &settings.latency,
            Symptom::Errors => &settings.errors,
            Symptom::Availability => &settings.availability,
        }
    }

    /// The first of `titles` that names a symptom; the service's own name counts for nothing.
    pub fn of<'a>(titles: impl IntoIterator<Item = &'a str>, service: Option<&str>) -> Option<Symptom> {
        titles.into_iter().find_map(|title| {
            let about = match service {
                Some(service) if !service.is_empty() => title.replace(service, " "),
                _ => title.to_owned(),
            };
            let words = words(&about);
            let known = |known: &&str| words.iter().any(|word| matches(known, word));
            WORDS
                .iter()
                .find(|(_, list)| list.iter().any(known))
                .map(|(symptom, _)| *symptom)
        })
    }
}

fn matches(known: &str, word: &str) -> bool {
    match (known.strip_suffix('*'), known.strip_prefix('*')) {
        (Some(stem), _) => word.starts_with(stem),
        (None, Some(end)) => word.ends_with(end),
        (None, None) => word == known,
    }
}

/// Lower-case words; `HighMemoryUsage` and `KubePodOOMKilled` are several.
fn words(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().take(300).collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let next = letters.get(at + 1);
        let starts = letter.is_uppercase()
            && (before.is_some_and(|c| c.is_lowercase())
                || (before.is_some_and(|c| c.is_uppercase()) && next.is_some_and(|c| c.is_lowercase())));
        if !letter.is_alphanumeric() || starts {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter.is_alphanumeric(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_words() {
        let check = |title: &str, expected: Option<Symptom>| {
            assert_eq!(Symptom::of([title], Some("memory-api")), expected, "{title}");
        };
        check("High Memory Usage on api-server (95%)", Some(Symptom::Memory));
        check("HighMemoryUsage", Some(Symptom::Memory));
        check("KubePodOOMKilled", Some(Symptom::Memory));
        check("CPUThrottlingHigh", Some(Symptom::Cpu));
        check("HighErrorRate", Some(Symptom::Errors));
        check("Http5xx", Some(Symptom::Errors));
        check("P99 latency above 2 s", Some(Symptom::Latency));
        check("TargetDown", Some(Symptom::Availability));
        check("KubePodCrashLooping", Some(Symptom::Availability));
        check("Zoom room is free", None);
        check("memory-api is odd", None);
        check("TargetDown memory-api", Some(Symptom::Availability));
        check("", None);
    }
}
