//! Secrets where they must not be: which detector saw one, where, and how long it is. Never the secret, nor a part of it.

use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::detectors::{Detector, detectors};

/// Longest line that is looked at, in bytes. More: a minified file costs seconds.
const LINE: usize = 16 << 10;
/// Most sightings of one text. More is a list for machines; that there are some is known by then.
pub const MOST: usize = 50;

/// A secret that was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Sighting {
    /// Which detector saw it.
    pub detector: String,
    /// `src/db.rs:12`, `line 3`, `the title`.
    pub place: String,
    /// `[redacted, 40 characters]`: nothing of it can be read.
    pub mask: String,
}

/// What stands for a secret that nobody knows yet: names, references, fillings, and what is code rather than a value.
static PLACEHOLDER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?ix) ^ (?: \$ | < | \{\{ | % | \[redacted )      # $NAME, <name>, {{ name }}, %name%
          | example | changeme | placeholder | dummy | redacted | your[_-] | xxxx | \*\*\*\* | \.\.\.
          | [()] | ::                                        # a call, a path of code
          | ^ (?: process | os | env | config | settings | self | this | var | local | data | module | secrets ) [.\[]",
    )
    .expect("a constant pattern")
});

/// Secrets in `text`, which is called `place`; lines are counted where there are several.
pub fn in_text(text: &str, place: &str) -> Vec<Sighting> {
    let mut seen = Seen::default();
    // A key of several lines is one.
    if text.contains('\n') {
        seen.whole(text, place);
        for (number, line) in text.lines().enumerate() {
            seen.line(line, || format!("{place}, line {}", number + 1));
        }
    } else {
        seen.line(text, || place.to_owned());
    }
    seen.sightings
}

/// Secrets in what a unified diff of `file` adds; the line is that of the new file.
pub fn in_diff(patch: &str, file: &str) -> Vec<Sighting> {
    let mut seen = Seen::default();
    let mut number = 0u64;
    for line in patch.lines() {
        if let Some(begin) = line.strip_prefix("@@") {
            number = begin
                .split('+')
                .nth(1)
                .and_then(|rest| rest.split([',', ' ']).next())
                .and_then(|first| first.parse().ok())
                .unwrap_or(0);
        } else if let Some(added) = line.strip_prefix('+') {
            seen.line(added, || format!("{file}:{number}"));
            number += 1;
        } else if !line.starts_with('-') && !line.starts_with('\\') {
            number += 1;
        }
    }
    seen.sightings
}

#[derive(Default)]
struct Seen {
    sightings: Vec<Sighting>,
}

impl Seen {
    fn line(&mut self, line: &str, place: impl Fn() -> String) {
        let line = head(line);
        let small = line.to_ascii_lowercase();
        // Of several detectors that match the same characters the first, the more exact one, counts.
        let mut taken: Vec<std::ops::Range<usize>> = Vec::new();
        for detector in detectors().iter().filter(|detector| detector.finds) {
            let worth = detector.keywords.is_empty() || detector.keywords.iter().any(|word| small.contains(word));
            if !worth {
                continue;
            }
            for found in detector.regex.captures_iter(line) {
                let Some(secret) = found.name("secret") else { continue };
                let span = secret.range();
                if taken.iter().any(|one| one.start < span.end && span.start < one.end) {
                    continue;
                }
                if is_secret(detector, secret.as_str()) {
                    taken.push(span);
                    self.add(detector, place(), secret.as_str());
                }
            }
        }
    }

    /// What only several lines together make.
    fn whole(&mut self, text: &str, place: &str) {
        let text = &text[..text.floor_char_boundary(1 << 20)];
        for detector in detectors().iter().filter(|one| one.id == "private-key") {
            for found in detector
                .regex
                .find_iter(text)
                .filter(|found| found.as_str().contains('\n'))
            {
                let line = text[..found.start()].matches('\n').count() + 1;
                self.add(detector, format!("{place}, line {line}"), found.as_str());
            }
        }
    }

    fn add(&mut self, detector: &Detector, place: String, secret: &str) {
        let sighting = Sighting {
            detector: detector.id.clone(),
            place,
            mask: format!("[redacted, {} characters]", secret.chars().count()),
        };
        let known = |one: &Sighting| one.detector == sighting.detector && one.place == sighting.place;
        if self.sightings.len() < MOST && !self.sightings.iter().any(known) {
            self.sightings.push(sighting);
        }
    }
}

fn head(line: &str) -> &str {
    &line[..line.floor_char_boundary(LINE)]
}

fn is_secret(detector: &Detector, secret: &str) -> bool {
    let bare = secret.trim_matches(['"', '\'', '\\']);
    !bare.is_empty() && !PLACEHOLDER.is_match(bare) && entropy(bare) >= detector.least_entropy
}

/// Bits a character (Shannon, "A Mathematical Theory of Communication", 1948).
fn entropy(text: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    let mut length = 0u32;
    for character in text.chars() {
        *counts.entry(character).or_insert(0u32) += 1;
        length += 1;
    }
    let total = f64::from(length.max(1));
    let bits = |count: &u32| {
        let share = f64::from(*count) / total;
        -share * share.log2()
    };
    counts.values().map(bits).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "ghp_0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R";

    #[test]
    fn entropies() {
        let check = |text: &str, least: f64, most: f64| {
            let found = entropy(text);
            assert!((least..=most).contains(&found), "{text}: {found}");
        };
        check("", 0.0, 0.0);
        check("aaaaaaaa", 0.0, 0.0);
        check("abcdefgh", 3.0, 3.0);
        check("hunter2", 2.8, 2.81);
    }

    #[test]
    fn a_diff_tells_the_line_of_the_new_file() {
        let patch = format!(
            "@@ -1,3 +10,4 @@ fn main\n a\n-old {TOKEN}\n+new\n+let t = \"{TOKEN}\";\n b\n+x {TOKEN}\n\\ No newline"
        );
        let places: Vec<String> = in_diff(&patch, "src/a.rs").into_iter().map(|one| one.place).collect();
        assert_eq!(places, ["src/a.rs:12", "src/a.rs:14"]);
    }

    #[test]
    fn nothing_of_a_secret_is_told() {
        let text = format!("one\ntwo {TOKEN}\npassword={TOKEN}");
        let found = in_text(&text, "the log");
        let places: Vec<&str> = found.iter().map(|one| one.place.as_str()).collect();
        assert_eq!(places, ["the log, line 2", "the log, line 3"]);
        let told = format!("{found:?}");
        for part in [&TOKEN[4..10], &TOKEN[TOKEN.len() - 4..]] {
            assert!(!told.contains(part), "{told}");
        }
        assert_eq!(found[0].mask, "[redacted, 40 characters]");
    }

    #[test]
    fn a_hundred_secrets_are_a_bounded_list() {
        let text: String = (0..100).map(|n| format!("{TOKEN}{n}\n")).collect();
        assert_eq!(in_text(&text, "x").len(), MOST);
        assert!(in_text(&"x".repeat(10 << 20), "x").is_empty());
    }
}
