//! The list of detectors: `detectors.toml`, which is part of the program.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use super::REDACTED;

const LIST: &str = include_str!("detectors.toml");

/// A shape of credentials.
#[derive(Debug)]
pub struct Detector {
    /// `github-token`.
    pub id: String,
    pub(super) regex: Regex,
    pub(super) replacement: String,
    /// A line must hold one of them, in small letters, before the regex is tried on it; empty: any line.
    pub(super) keywords: Vec<String>,
    /// A match is a finding, and not only hidden.
    pub(super) finds: bool,
    /// Least bits a character.
    pub(super) least_entropy: f64,
    /// Lines that it must find, and that it must not.
    pub finds_in: Vec<String>,
    pub spares: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    detector: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    regex: String,
    replacement: Option<String>,
    #[serde(default)]
    keywords: Vec<String>,
    #[serde(default)]
    finds: bool,
    #[serde(default)]
    least_entropy: f64,
    fill: String,
    finds_in: Vec<String>,
    spares: Vec<String>,
}

/// Every detector, in the order in which they hide.
pub fn detectors() -> &'static [Detector] {
    static DETECTORS: LazyLock<Vec<Detector>> = LazyLock::new(|| {
        // The file is part of the program; the tests below read it whole and compile every pattern.
        let list: List = toml_edit::de::from_str(LIST).expect("detectors.toml is a list of detectors");
        list.detector.into_iter().map(compiled).collect()
    });
    &DETECTORS
}

fn compiled(written: Written) -> Detector {
    let fill = |examples: Vec<String>| examples.iter().map(|one| one.replace("{}", &written.fill)).collect();
    Detector {
        regex: Regex::new(&written.regex).expect("a pattern of detectors.toml compiles"),
        replacement: written.replacement.unwrap_or_else(|| REDACTED.to_owned()),
        keywords: written.keywords,
        finds: written.finds,
        least_entropy: written.least_entropy,
        finds_in: fill(written.finds_in),
        spares: fill(written.spares),
        id: written.id,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::redact::{in_text, redact};

    #[test]
    fn every_detector_finds_its_examples_and_spares_the_others() {
        let ids: BTreeSet<&str> = detectors().iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), detectors().len(), "an id is there twice");
        for detector in detectors() {
            assert!(
                !detector.finds_in.is_empty() && !detector.spares.is_empty(),
                "{}",
                detector.id
            );
            let finds = |text: &str| in_text(text, "here").iter().any(|one| one.detector == detector.id);
            for text in &detector.finds_in {
                assert!(finds(text), "{} misses {text}", detector.id);
                assert!(redact(text).contains(REDACTED), "{} does not hide {text}", detector.id);
                assert!(
                    in_text(&redact(text), "here").is_empty(),
                    "found again in {}",
                    redact(text)
                );
            }
            for text in &detector.spares {
                assert!(!finds(text), "{} finds {text}", detector.id);
            }
        }
    }

    #[test]
    fn what_is_found_is_hidden() {
        // A detector that finds what no detector hides would tell of a secret that stands there for all to read.
        for detector in detectors() {
            for text in &detector.finds_in {
                let found = detector
                    .regex
                    .captures(text)
                    .expect("the regex alone matches its example");
                let secret = found
                    .name("secret")
                    .expect("a group `secret`")
                    .as_str()
                    .trim_matches(['"', '\'']);
                assert!(!redact(text).contains(secret), "{}: {}", detector.id, redact(text));
            }
        }
    }
}
