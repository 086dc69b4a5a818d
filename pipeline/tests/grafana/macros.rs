//! Macros and variables as Grafana replaces them, in the forms that the dashboards use; any other is a failure.
//!
//! Macros: `pkg/tsdb/grafana-postgresql-datasource/macros.go` of Grafana 12. Variables: <https://grafana.com/docs/grafana/latest/visualizations/dashboards/variables/variable-syntax/>;
//! a custom value of "All" is put in as it stands, everything else of `sqlstring` in quotes.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::board::{Board, list, text};

/// What the viewer chose.
pub struct Chosen {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Width of a point.
    pub interval_ms: u64,
    /// Of PromQL: `$__rate_interval` and `$__range`.
    pub rate_interval: &'static str,
    pub range: &'static str,
    /// Of each variable what stands for it, by format: `${NAME}` and `${NAME:sqlstring}`.
    pub plain: BTreeMap<String, String>,
    pub quoted: BTreeMap<String, String>,
}

impl Chosen {
    /// What a dashboard shows at first, of the last day.
    pub fn at_first(board: &Board) -> Chosen {
        let to = Utc::now();
        let mut chosen = Chosen {
            from: to - chrono::Duration::days(1),
            to,
            interval_ms: 60_000,
            rate_interval: "20s",
            range: "600s",
            plain: BTreeMap::new(),
            quoted: BTreeMap::new(),
        };
        for variable in board.variables() {
            let name = text(variable, "name");
            match text(variable, "type") {
                "query" => {
                    let all = text(variable, "allValue").to_owned();
                    assert!(!all.is_empty(), "{}: variable {name} has no value of All", board.uid());
                    chosen.quoted.insert(name.to_owned(), all);
                }
                "textbox" => {
                    chosen.quoted.insert(name.to_owned(), quote(text(variable, "query")));
                }
                "custom" => {
                    chosen
                        .plain
                        .insert(name.to_owned(), text(&variable["current"], "value").to_owned());
                }
                // It chooses where is read, and is in no query.
                "datasource" => {}
                other => panic!(
                    "{}: variable {name} is of type {other}, which is not known here",
                    board.uid()
                ),
            }
        }
        chosen
    }

    /// Each way to choose among the values that the dashboard itself has: of `${NAME}` in `query` every option.
    pub fn each_option(mut self, board: &Board, query: &str, mut with: impl FnMut(&Chosen)) {
        let custom = |one: &&Value| one["type"] == "custom" && query.contains(&format!("${{{}}}", text(one, "name")));
        let Some(variable) = board.variables().iter().find(custom) else {
            return with(&self);
        };
        for option in list(&variable["options"]) {
            let name = text(variable, "name").to_owned();
            self.plain.insert(name, text(option, "value").to_owned());
            with(&self);
        }
    }

    /// The query that the server is sent.
    pub fn replace(&self, query: &str) -> String {
        let mut out = String::new();
        let mut rest = query;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = self.one(&rest[at..], &mut out);
        }
        out.push_str(rest);
        out
    }

    /// Replaces what `from` begins with; the rest of it.
    fn one<'a>(&self, from: &'a str, out: &mut String) -> &'a str {
        let (start, end) = (quote(&moment(self.from)), quote(&moment(self.to)));
        if let Some(rest) = from.strip_prefix("$__timeFilter(") {
            let (column, rest) = rest.split_once(')').expect("a closed $__timeFilter");
            assert!(!column.contains('('), "$__timeFilter takes a column: {column}");
            out.push_str(&format!("{column} BETWEEN {start} AND {end}"));
            return rest;
        }
        let interval = self.interval_ms.to_string();
        for (macro_name, value) in [
            ("$__timeFrom()", start.as_str()),
            ("$__timeTo()", &end),
            ("$__interval_ms", &interval),
            ("$__rate_interval", self.rate_interval),
            ("$__range", self.range),
        ] {
            if let Some(rest) = from.strip_prefix(macro_name) {
                out.push_str(value);
                return rest;
            }
        }
        let variable = from.strip_prefix("${").and_then(|rest| rest.split_once('}'));
        let Some((name, rest)) = variable else {
            panic!("this macro is not known here: {from}");
        };
        let value = match name.split_once(':') {
            None => self.plain.get(name),
            Some((name, "sqlstring")) => self.quoted.get(name),
            Some((_, format)) => panic!("{format} is no format for a query: {from}"),
        };
        out.push_str(value.unwrap_or_else(|| panic!("the dashboard has no such variable for a query: {from}")));
        rest
    }
}

/// As `sqlstring` writes a value.
pub fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// As the macros write a time: RFC 3339, UTC.
fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
