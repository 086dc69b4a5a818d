//! Plain text: one line a row, as a log file has it.
//!
//! The service is said by who hands the file over. A line's time is the first thing in it, where that is an RFC 3339 time (or one
//! with a blank for the `T` and a comma for the point, and no zone: UTC); a line without one has the time of the line before it.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use model::LogLine;

use super::{Collector, Fault};

/// Reads a file into `collector`. Bytes that are no UTF-8 are replaced.
pub fn read(body: &[u8], service: &str, collector: &mut Collector<'_>) -> Result<(), Fault> {
    let labels = BTreeMap::from([("service".to_owned(), service.to_owned())]);
    let stream = collector.stream(labels)?;
    let mut last = None;
    for row in String::from_utf8_lossy(body).lines() {
        if row.trim().is_empty() {
            continue;
        }
        last = time_of(row).or(last);
        let line = LogLine {
            at: last,
            text: row.to_owned(),
            ..LogLine::default()
        };
        collector.line(stream, line)?;
    }
    Ok(())
}

/// Microseconds since the epoch, where a row begins with a time.
fn time_of(row: &str) -> Option<i64> {
    let row = row.trim_start_matches(['[', '(', '"']);
    let mut words = row.split([' ', ']', ')', '"', '\t']);
    let first = words.next()?;
    if let Ok(time) = DateTime::parse_from_rfc3339(first) {
        return Some(time.with_timezone(&Utc).timestamp_micros());
    }
    let local = |text: &str| {
        let text = text.replacen(',', ".", 1);
        let text = text.trim_end_matches('Z');
        let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y/%m/%d %H:%M:%S%.f"];
        let read = forms
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
        read.map(|time| time.and_utc().timestamp_micros())
    };
    local(first).or_else(|| local(&format!("{first} {}", words.next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |row, expected: Option<i64>| assert_eq!(time_of(row), expected, "{row}");
        let at = 1_795_423_706_000_000;
        check("2026-11-23T08:48:26Z INFO x", Some(at));
        check("[2026-11-23T10:48:26.5+02:00] x", Some(at + 500_000));
        check("2026-11-23 08:48:26,978 INFO x", Some(at + 978_000));
        check("2026/11/23 08:48:26 [error] x", Some(at));
        check("Jun 14 15:16:01 combo x", None);
        check("x", None);
        check("", None);
        check("2026-11-23", None);
    }
}
