//! Log lines in groups: what varies is masked, what is left is the template. Stateless and small; the miner that learns templates
//! over days is another component.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regex::Regex;
use tools::observe::LogLine;

use crate::text;

/// Longest template and example, in characters.
const SHOWN: usize = 240;

/// Lines with one template.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub template: String,
    pub count: u64,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
    /// The earliest line.
    pub example: String,
    /// The lines say that memory ran out.
    pub out_of_memory: bool,
    /// The request path that most of the lines name, and how many do.
    pub path: Option<(String, u64)>,
}

/// What a mask replaces, in this order: a later one would cut an earlier one's text apart.
static MASKS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b", "<uuid>"),
        (
            r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(?:[.,]\d+)?(?:Z|[+-]\d{2}:?\d{2})?",
            "<time>",
        ),
        (r#""[^"]*"|'[^']*'"#, "<text>"),
        (r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b", "<mail>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<ip>"),
        (r"(?:\b[a-z]+:/)?(?:/[\w.~%:@-]+)+/?", "<path>"),
        (r"\b0x[0-9a-fA-F]+\b", "<hex>"),
        (
            r"\b[0-9a-fA-F]*(?:[0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]{6,}\b",
            "<hex>",
        ),
        (r"-?\d+(?:[.,]\d+)*", "<n>"),
    ]
    .into_iter()
    .map(|(pattern, mask)| (Regex::new(pattern).expect("a constant pattern"), mask))
    .collect()
});

/// A path of a request, after something that is neither a host nor a scheme.
static PATH: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?:^|[\s="'(\[])(/[A-Za-z0-9_][\w./-]{0,79})"#).expect("a constant pattern"));

/// How processes, runtimes and kernels say that memory ran out, in lower case.
const OUT_OF_MEMORY: &[&str] = &[
    "outofmemory",
    "out of memory",
    "oomkilled",
    "oom-kill",
    "oom killer",
    "cannot allocate memory",
    "java heap space",
    "std::bad_alloc",
    "memoryerror",
    "enomem",
];

/// The template of a line.
pub fn template(line: &str) -> String {
    let mut masked = text::line(line, 1_000);
    for (pattern, mask) in MASKS.iter() {
        masked = pattern.replace_all(&masked, *mask).into_owned();
    }
    text::line(&masked, SHOWN)
}

pub fn says_out_of_memory(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    OUT_OF_MEMORY.iter().any(|phrase| line.contains(phrase))
}

/// Lines by template: the most frequent first, then by template.
pub fn group(lines: &[LogLine]) -> Vec<Group> {
    let mut groups: BTreeMap<String, (Group, BTreeMap<String, u64>)> = BTreeMap::new();
    for line in lines {
        let shown = text::line(&line.text, 1_000);
        let template = template(&shown);
        let (group, paths) = groups.entry(template.clone()).or_insert_with(|| {
            let group = Group {
                template,
                count: 0,
                first_at: line.at,
                last_at: line.at,
                example: text::line(&shown, SHOWN),
                out_of_memory: false,
                path: None,
            };
            (group, BTreeMap::new())
        });
        group.count += 1;
        group.out_of_memory |= says_out_of_memory(&shown);
        group.last_at = group.last_at.max(line.at);
        if line.at < group.first_at {
            (group.first_at, group.example) = (line.at, text::line(&shown, SHOWN));
        }
        if let Some(found) = PATH.captures(&shown) {
            *paths.entry(found[1].to_owned()).or_default() += 1;
        }
    }
    let mut groups: Vec<Group> = groups
        .into_values()
        .map(|(group, paths)| Group {
            path: most(paths),
            ..group
        })
        .collect();
    groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.template.cmp(&b.template)));
    groups
}

/// The most frequent; of equals the first by name.
pub fn most(counts: BTreeMap<String, u64>) -> Option<(String, u64)> {
    counts
        .into_iter()
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let check = |line: &str, expected: &str| assert_eq!(template(line), expected, "{line}");
        check("took 31 ms for user 77", "took <n> ms for user <n>");
        check(
            "java.lang.OutOfMemoryError: Java heap space in /api/reports",
            "java.lang.OutOfMemoryError: Java heap space in <path>",
        );
        check(
            "dial tcp 10.0.3.7:5432: connect: connection refused",
            "dial tcp <ip>: connect: connection refused",
        );
        check(
            "request 6f1b7f0e-52d1-5a0b-9d3c-ae915ae91500 failed",
            "request <uuid> failed",
        );
        check("at 2026-11-25T10:00:00.5Z object 0xdeadbeef", "at <time> object <hex>");
        check("commit 9fceb02d0ae598e9 by a@b.example", "commit <hex> by <mail>");
        check(r#"open "a b.txt": no such file"#, "open <text>: no such file");
        check("facade decade", "facade decade");
    }

    #[test]
    fn groups() {
        let at = |s: i64| DateTime::from_timestamp(1_800_000_000 + s, 0).unwrap();
        let line = |s: i64, text: &str| LogLine {
            at: at(s),
            level: Some("error".into()),
            text: text.into(),
            secrets: Vec::new(),
        };
        let groups = group(&[
            line(9, "OutOfMemoryError in /api/reports after 12 s"),
            line(3, "OutOfMemoryError in /api/reports after 9 s"),
            line(5, "OutOfMemoryError in /api/users after 9 s"),
            line(4, "disk full"),
        ]);
        assert_eq!(groups.len(), 2);
        let first = &groups[0];
        assert_eq!((first.count, first.first_at, first.last_at), (3, at(3), at(9)));
        assert!(first.out_of_memory && !groups[1].out_of_memory);
        assert_eq!(first.example, "OutOfMemoryError in /api/reports after 9 s");
        assert_eq!(first.path, Some(("/api/reports".into(), 2)));
    }
}
