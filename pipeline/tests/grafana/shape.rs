//! What a panel needs of an answer.

use super::board::Query;

/// What a column holds, as Grafana sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Time,
    Number,
    Text,
    Other,
}

impl Kind {
    /// Of a type's name in PostgreSQL.
    pub fn of(name: &str) -> Kind {
        match name {
            "TIMESTAMPTZ" | "TIMESTAMP" => Kind::Time,
            "INT2" | "INT4" | "INT8" | "FLOAT4" | "FLOAT8" | "NUMERIC" => Kind::Number,
            "TEXT" | "VARCHAR" | "NAME" | "CHAR" | "UNKNOWN" => Kind::Text,
            _ => Kind::Other,
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub columns: Vec<(String, Kind)>,
    /// Values as text.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Why the panel could not draw it.
pub fn fault(query: &Query, answer: &Answer) -> Option<String> {
    if answer.rows.is_empty() {
        return Some("no rows".to_owned());
    }
    let odd = answer.columns.iter().find(|(_, kind)| *kind == Kind::Other);
    if let Some((name, _)) = odd {
        return Some(format!("column {name} is of no type that a panel shows"));
    }
    let missing = query
        .named
        .iter()
        .find(|name| answer.columns.iter().all(|(column, _)| column != *name));
    if query.format == "table"
        && let Some(name) = missing
    {
        return Some(format!("the panel speaks of column {name}, which is not there"));
    }
    match (query.kind.as_str(), query.format.as_str()) {
        (_, "time_series") => time_series(answer),
        ("annotation", _) => annotation(answer),
        ("stat", _) => stat(answer),
        ("barchart", _) => bars(query, answer),
        ("variable", _) => {
            (answer.columns.len() != 1 || answer.columns[0].1 != Kind::Text).then(|| "not one text".to_owned())
        }
        ("table", _) => None,
        (kind, format) => Some(format!("nobody has said what {kind} needs of format {format}")),
    }
}

/// A column `time`, rising; one number per series, named by texts, or several numbers, each a series.
fn time_series(answer: &Answer) -> Option<String> {
    if answer.columns[0] != ("time".to_owned(), Kind::Time) {
        return Some("the first column is not `time`".to_owned());
    }
    let count = |kind| answer.columns.iter().filter(|(_, found)| *found == kind).count();
    match (count(Kind::Number), count(Kind::Text), count(Kind::Time)) {
        (numbers, 0, 1) if numbers > 0 => {}
        (1, 1, 1) => {}
        counts => return Some(format!("(numbers, texts, times) are {counts:?}")),
    }
    let times: Vec<&Option<String>> = answer.rows.iter().map(|row| &row[0]).collect();
    if times.iter().any(|time| time.is_none()) || !times.is_sorted() {
        return Some("times are not in order".to_owned());
    }
    let numbers = || {
        let columns = answer.columns.iter().enumerate();
        columns.filter(|(_, (_, kind))| *kind == Kind::Number)
    };
    // A series without a value is a line that is never drawn.
    let empty = numbers().find(|(at, _)| answer.rows.iter().all(|row| row[*at].is_none()));
    empty.map(|(_, (name, _))| format!("{name} has no value"))
}

fn annotation(answer: &Answer) -> Option<String> {
    let has = |name: &str, kind| answer.columns.contains(&(name.to_owned(), kind));
    (!has("time", Kind::Time) || !has("text", Kind::Text)).then(|| "no `time` and `text`".to_owned())
}

/// One number, and it is there.
fn stat(answer: &Answer) -> Option<String> {
    if answer.rows.len() != 1 || answer.columns.len() != 1 || answer.columns[0].1 != Kind::Number {
        return Some("not one number".to_owned());
    }
    answer.rows[0][0].is_none().then(|| "the number is null".to_owned())
}

/// The axis is text, without gaps; everything else are numbers, each with a value.
fn bars(query: &Query, answer: &Answer) -> Option<String> {
    let axis = query.named.last()?;
    for (at, (name, kind)) in answer.columns.iter().enumerate() {
        let wanted = if name == axis { Kind::Text } else { Kind::Number };
        if *kind != wanted {
            return Some(format!("{name} is {kind:?}"));
        }
        if answer.rows.iter().any(|row| row[at].is_none()) {
            return Some(format!("{name} has a gap"));
        }
    }
    (answer.columns.len() < 2).then(|| "no bars".to_owned())
}
