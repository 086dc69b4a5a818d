//! LogQL from typed conditions. Nothing that comes from a log line, a label or a model reaches the query outside a quoted string.

use std::fmt::Write as _;

use crate::observe::LogQuery;

/// Longest text searched for. Longer: the address of the question outgrows what servers take.
const TEXT_LIMIT: usize = 1024;

/// Levels below each that can be asked for, as senders write them; least first.
const LEVELS: &[(&str, &[&str])] = &[
    ("trace", &["trace", "trc"]),
    ("debug", &["debug", "dbg", "verbose"]),
    ("info", &["info", "inf", "information", "notice", "informational"]),
    ("warn", &["warn", "warning", "wrn"]),
    ("error", &["error", "err", "eror", "severe"]),
    ("fatal", &[]),
];

/// The query for `service` under `label`, or what is wrong with the question.
pub fn of(label: &str, query: &LogQuery) -> Result<String, String> {
    for text in [Some(&query.service), query.contains.as_ref()].into_iter().flatten() {
        if text.len() > TEXT_LIMIT {
            return Err(format!(
                "a text of {} bytes: at most {TEXT_LIMIT} are searched for",
                text.len()
            ));
        }
    }
    let mut logql = format!("{{{label}={}}}", quoted(&query.service));
    if let Some(text) = &query.contains {
        let _ = write!(logql, " |= {}", quoted(text));
    }
    let below = match &query.min_level {
        Some(level) => below(level)?,
        None => String::new(),
    };
    if !below.is_empty() {
        // Lines without the label pass `!~`: a level that is not known counts as asked for.
        let pattern = quoted(&format!("(?i)({below})"));
        let _ = write!(logql, " | level!~{pattern} | detected_level!~{pattern}");
    }
    Ok(logql)
}

/// The names of all levels below `level`, as alternatives of a pattern.
fn below(level: &str) -> Result<String, String> {
    let level = match level.to_lowercase().as_str() {
        "warning" => "warn".to_owned(),
        "critical" => "fatal".to_owned(),
        other => other.to_owned(),
    };
    let Some(end) = LEVELS.iter().position(|(name, _)| *name == level) else {
        let known: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
        return Err(format!(
            "the level {level:?} is not known: use one of {}",
            known.join(", ")
        ));
    };
    let names: Vec<&str> = LEVELS[..end]
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    Ok(names.join("|"))
}

/// A string of LogQL, which are Go's: `\`, `"` and whatever does not print are escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other if other.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", other as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn check(service: &str, min_level: Option<&str>, contains: Option<&str>, expected: &str) {
        let query = LogQuery {
            service: service.to_owned(),
            from: DateTime::UNIX_EPOCH,
            to: DateTime::UNIX_EPOCH,
            min_level: min_level.map(str::to_owned),
            contains: contains.map(str::to_owned),
            limit: 1,
        };
        let found = of("app", &query).unwrap_or_else(|fault| fault);
        assert_eq!(found, expected);
    }

    #[test]
    fn queries() {
        check("api", None, None, r#"{app="api"}"#);
        check("api", None, Some("a.b*"), r#"{app="api"} |= "a.b*""#);
        check("api", Some("trace"), None, r#"{app="api"}"#);
        check(
            "api",
            Some("Info"),
            None,
            r#"{app="api"} | level!~"(?i)(trace|trc|debug|dbg|verbose)" | detected_level!~"(?i)(trace|trc|debug|dbg|verbose)""#,
        );
        check(
            "api",
            Some("loud"),
            None,
            r#"the level "loud" is not known: use one of trace, debug, info, warn, error, fatal"#,
        );
    }

    #[test]
    fn nothing_gets_out_of_its_quotes() {
        check(r#"x"} or {a="b"#, None, None, r#"{app="x\"} or {a=\"b"}"#);
        check(
            r"back\",
            None,
            Some("a\"\n|= \u{0}\u{1b}"),
            r#"{app="back\\"} |= "a\"\n|= \u0000\u001b""#,
        );
    }
}
