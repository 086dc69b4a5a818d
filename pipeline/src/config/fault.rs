//! What is wrong with a configuration, where, and what to write instead.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "in", rename_all = "snake_case")]
pub enum Place {
    /// Line and column (in characters) count from 1.
    File { path: PathBuf, line: usize, column: usize },
    /// An environment variable.
    Environment { name: String },
    /// A command line option.
    Option { name: String },
    /// Nobody gave it: the default is at fault in this surrounding.
    Default,
}

/// One thing that must be changed before the configuration can be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Fault {
    pub place: Place,
    /// Dotted path of the key: `log.kafka.bootstrap_servers`. Empty for the file as a whole.
    pub key: String,
    pub problem: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// One thing that works and yet should be changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Warning(pub Fault);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Place::Environment { name } => write!(f, "environment {name}"),
            Place::Option { name } => write!(f, "option {name}"),
            Place::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for Fault {
    /// `aegis.toml:3:1: log.knd: unknown key; did you mean "kind"?`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The known word that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Below 0.8 the "nearest" word is an accident (`port` → `poll`); above 0.9 a missing letter in a short word is lost.
    const ALIKE: f64 = 0.8;
    known
        .into_iter()
        .map(|candidate| (likeness(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Jaro-Winkler likeness; two letters swapped (`lgo`) count as near whatever the word's length.
fn likeness(word: &str, candidate: &str) -> f64 {
    let alike = strsim::jaro_winkler(word, candidate);
    if strsim::damerau_levenshtein(word, candidate) == 1 && word.len() == candidate.len() && word.len() > 2 {
        return alike.max(0.85);
    }
    alike
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_words() {
        let check = |word, known: &[&'static str], expected| {
            assert_eq!(nearest(word, known.iter().copied()), expected, "{word}");
        };
        check("knd", &["kind", "embedded", "kafka"], Some("kind"));
        check(
            "bootstrap_server",
            &["bootstrap_servers", "client_id"],
            Some("bootstrap_servers"),
        );
        check("Listen", &["listen"], Some("listen"));
        check("potato", &["kind", "embedded", "kafka"], None);
    }
}
