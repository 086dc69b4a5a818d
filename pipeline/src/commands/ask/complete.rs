//! What the shell completes with Tab: words of SQL, tables and their columns.

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

const SQL: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "HAVING",
    "LIMIT",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING",
    "AS",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS NULL",
    "IS NOT NULL",
    "BETWEEN",
    "LIKE",
    "ILIKE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "DISTINCT",
    "UNION ALL",
    "WITH",
    "DESC",
    "ASC",
    "INTERVAL",
    "EXPLAIN",
    "count(*)",
    "sum",
    "avg",
    "min",
    "max",
    "now()",
    "date_bin",
    "date_trunc",
    "coalesce",
    "approx_percentile_cont",
];

/// The words that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// `names`: tables and columns.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut words: Vec<String> = names
            .into_iter()
            .chain(SQL.iter().map(|word| (*word).to_owned()))
            .collect();
        words.sort_unstable();
        words.dedup();
        Words(words)
    }

    /// Where the word before `at` begins, and what it may become. Words of SQL are given as they are being typed: in small
    /// letters or large ones.
    fn candidates(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let typed = line.get(..at).unwrap_or(line);
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '\\';
        let start = typed.rfind(|letter: char| !is_part(letter)).map_or(0, |before| {
            before + typed[before..].chars().next().map_or(1, char::len_utf8)
        });
        let word = &typed[start..];
        if word.is_empty() {
            return (start, Vec::new());
        }
        let small = word.to_lowercase();
        let lower = word.chars().next().is_some_and(char::is_lowercase);
        let fits = self.0.iter().filter(|known| known.to_lowercase().starts_with(&small));
        let found = fits.map(|known| match SQL.contains(&known.as_str()) && lower {
            true => known.to_lowercase(),
            false => known.clone(),
        });
        (start, found.collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, at))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}
impl Validator for Words {}
impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, start: usize, expected: &[&str]) {
        let words = Words::new(["incidents", "incident_events", "severity"].map(str::to_owned));
        let (found_start, found) = words.candidates(line, line.len());
        assert_eq!(
            (found_start, found),
            (start, expected.iter().map(|word| (*word).to_owned()).collect()),
            "{line}"
        );
    }

    #[test]
    fn words_are_completed_from_their_beginning() {
        check("select * from inc", 14, &["incident_events", "incidents"]);
        check("sel", 0, &["select"]);
        check("SEL", 0, &["SELECT"]);
        check("select max(sever", 11, &["severity"]);
        check("select ", 7, &[]);
        check("select 'ä", 8, &[]);
    }
}
