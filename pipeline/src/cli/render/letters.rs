//! Dead letters: as a list, one with its bytes, and what was done about some.

use std::io::{self, Write};

use anstyle::AnsiColor;
use chrono::{DateTime, SecondsFormat, Utc};
use model::{DeadLetter, LetterDone, LetterFact};

use super::screen::{Screen, Stream, bold, printable};
use super::table::{Table, Value};
use super::{Format, json_line};
use crate::letters::{Entry, Outcome, Skipped, Status, Whole};

/// Bytes of a body that are shown; all of them are to be had with --raw.
const SHOWN_BYTES: usize = 64 << 10;
/// Letters that were left alone, named one by one; a count tells of the rest.
const SHOWN_SKIPPED: usize = 20;

/// A list, in the order given, as of `now`.
pub fn letters(
    entries: &[Entry],
    now: DateTime<Utc>,
    format: Format,
    screen: &Screen,
    out: &mut impl Write,
) -> io::Result<()> {
    if format == Format::Json {
        return entries.iter().try_for_each(|entry| json_line(entry, out));
    }
    if entries.is_empty() {
        return if screen.stdout.terminal {
            writeln!(out, "no dead letters")
        } else {
            Ok(())
        };
    }
    let mut table = Table::new(["id", "status", "age", "stage", "reason", "origin", "attempt", "detail"]);
    for entry in entries {
        table.row(vec![
            Value::text(entry.id.to_string()),
            Value::text(entry.status.as_str()).color(color(entry.status)),
            Value::number(age(now, entry.received_at)),
            Value::text(&entry.stage),
            Value::text(&entry.reason),
            Value::text(origin(entry)),
            Value::number(entry.attempt),
            Value::text(&entry.detail),
        ]);
    }
    table.write(screen.stdout, out)
}

/// One letter with all that is known of it.
pub fn letter(whole: &Whole, format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return json_line(whole, out);
    }
    let (entry, stream) = (&whole.entry, screen.stdout);
    writeln!(
        out,
        "{}  {}",
        stream.paint(bold(color(entry.status)), entry.status.as_str()),
        stream.paint(anstyle::Style::new().bold(), &printable(&entry.reason))
    )?;
    field(out, "id", &entry.id.to_string())?;
    field(out, "stage", &entry.stage)?;
    field(out, "detail", &entry.detail)?;
    if let Some(pointer) = &entry.field {
        field(out, "field", pointer)?;
    }
    field(out, "origin", &origin(entry))?;
    if let Some(first) = &entry.first_refused {
        field(out, "at first", first)?;
    }
    field(out, "received_at", &time(entry.received_at))?;
    field(out, "attempt", &entry.attempt.to_string())?;
    for fact in &entry.facts {
        field(out, "then", &done(fact))?;
    }
    for (name, value) in &whole.headers {
        field(out, "header", &format!("{name}: {value}"))?;
    }
    let body = whole.body_base64.as_deref().map(bytes_of).transpose();
    match body {
        Ok(Some(body)) => show_bytes(&body, stream, out),
        Ok(None) => field(
            out,
            "bytes",
            "gone: the letter that carried them lies before the log's start",
        ),
        Err(cause) => field(out, "bytes", &format!("not readable: {cause}")),
    }
}

/// The refused bytes as they were kept.
pub fn bytes_of(body_base64: &str) -> Result<Vec<u8>, String> {
    let letter = DeadLetter::decode_body(body_base64);
    letter.map_err(|e| e.to_string())
}

/// What was done; `verb` is "sent again" or "dropped".
pub fn outcome(outcome: &Outcome, verb: &str, out: &mut impl Write) -> io::Result<()> {
    let records = match verb {
        "dropped" => String::new(),
        _ => format!(" in {} records", outcome.records),
    };
    writeln!(
        out,
        "{} letters {verb}{records}; {} left alone",
        outcome.letters,
        outcome.skipped.len()
    )?;
    for Skipped { id, because } in outcome.skipped.iter().take(SHOWN_SKIPPED) {
        writeln!(out, "  {id}: {}", printable(because))?;
    }
    match outcome.skipped.len().saturating_sub(SHOWN_SKIPPED) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more; --json names them all"),
    }
}

fn show_bytes(body: &[u8], stream: Stream, out: &mut impl Write) -> io::Result<()> {
    let shown = &body[..body.len().min(SHOWN_BYTES)];
    field(out, "bytes", &body.len().to_string())?;
    writeln!(out)?;
    match text_of(shown) {
        Some(text) => {
            for line in text.lines() {
                writeln!(out, "{}", printable(line))?;
            }
        }
        None => {
            for (number, line) in shown.chunks(16).enumerate() {
                writeln!(out, "{}", hex_line(number * 16, line))?;
            }
        }
    }
    if shown.len() < body.len() {
        let note = format!("… {} more bytes, see --raw", body.len() - shown.len());
        writeln!(out, "{}", stream.paint(AnsiColor::Yellow.on_default(), &note))?;
    }
    Ok(())
}

/// Text, if it is: UTF-8 (its end may have been cut) without control characters but those of line ends and tabs.
fn text_of(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() && bytes.len() == SHOWN_BYTES => {
            std::str::from_utf8(&bytes[..e.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
    text.chars().all(plain).then_some(text)
}

/// As `hexdump -C` shows it.
fn hex_line(offset: usize, bytes: &[u8]) -> String {
    let mut hex = String::new();
    for at in 0..16 {
        let gap = if at == 8 { "  " } else { " " };
        let cell = bytes.get(at).map_or("  ".to_owned(), |byte| format!("{byte:02x}"));
        hex.push_str(gap);
        hex.push_str(&cell);
    }
    let text: String = bytes
        .iter()
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        })
        .collect();
    format!("{offset:08x} {hex}  |{text}|")
}

fn origin(entry: &Entry) -> String {
    let place = format!("{}/{}/{}", entry.topic, entry.partition, entry.offset);
    match entry.index {
        Some(index) => format!("{place}#{index}"),
        None => place,
    }
}

fn done(fact: &LetterFact) -> String {
    let what = match &fact.done {
        LetterDone::Replayed {
            topic,
            partition,
            attempt,
        } => format!("sent again to {topic}/{partition} as attempt {attempt}"),
        LetterDone::Dropped { because } => format!("dropped: {because}"),
    };
    format!("{} {what}", time(fact.at))
}

fn field(out: &mut impl Write, name: &str, value: &str) -> io::Result<()> {
    writeln!(out, "  {name:<12} {}", printable(value))
}

fn color(status: Status) -> AnsiColor {
    match status {
        Status::Open => AnsiColor::Yellow,
        Status::Replayed => AnsiColor::Green,
        Status::Dropped => AnsiColor::Cyan,
    }
}

/// How long ago, in its largest unit: `40s`, `3m`, `7h`, `12d`.
fn age(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letters::LetterId;

    fn whole(body: &[u8]) -> Whole {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let id = LetterId {
            partition: 0,
            offset: 17,
        };
        Whole {
            entry: Entry {
                id,
                status: Status::Dropped,
                stage: "normalize".into(),
                reason: "missing_field".into(),
                detail: "/alerts/1/startsAt is missing \u{1b}[31m".into(),
                field: Some("/alerts/1/startsAt".into()),
                topic: "events.raw".into(),
                partition: 3,
                offset: 40,
                index: Some(1),
                received_at: at,
                attempt: 2,
                first_refused: Some("events.raw/1/9".into()),
                bytes_in: Some(id),
                facts: vec![LetterFact {
                    schema: 1,
                    letter: 17,
                    done: LetterDone::Dropped {
                        because: "a test".into(),
                    },
                    at,
                }],
            },
            headers: vec![("http-authorization".into(), "[redacted]".into())],
            body_base64: Some(DeadLetter::encode_body(body)),
        }
    }

    fn shown(body: &[u8]) -> String {
        let mut out = Vec::new();
        letter(&whole(body), Format::Table, &Screen::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn list() {
        let mut out = Vec::new();
        let now = DateTime::from_timestamp(1_700_000_200, 0).unwrap();
        let entries = [whole(b"").entry];
        letters(&entries, now, Format::Table, &Screen::default(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "id                status   age  stage      reason         origin             attempt  detail\n\
             dead-letter/0/17  dropped   3m  normalize  missing_field  events.raw/3/40#1        2  \
             /alerts/1/startsAt is missing \u{fffd}[31m\n"
        );
    }

    #[test]
    fn text_is_shown_as_text() {
        let text = shown(b"{\n\t\"a\": 1}");
        for expected in [
            "dropped  missing_field",
            "  origin       events.raw/3/40#1",
            "  at first     events.raw/1/9",
            "  header       http-authorization: [redacted]",
            "  then         2023-11-14T22:13:20.000Z dropped: a test",
            "  bytes        10\n\n{\n \"a\": 1}\n",
        ] {
            assert!(text.contains(expected), "{expected:?} not in\n{text}");
        }
    }

    #[test]
    fn other_bytes_are_dumped() {
        let text = shown(b"\0abc\x1b[31m 0123456789");
        assert!(
            text.ends_with(
                "00000000  00 61 62 63 1b 5b 33 31  6d 20 30 31 32 33 34 35  |.abc.[31m 012345|\n\
                 00000010  36 37 38 39                                       |6789|\n"
            ),
            "{text}"
        );
        assert!(shown(b"caf\xe9").contains("|caf.|"));
    }

    #[test]
    fn ages() {
        let check = |seconds, expected: &str| {
            let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
            assert_eq!(age(at + chrono::Duration::seconds(seconds), at), expected);
        };
        check(-5, "0s");
        check(59, "59s");
        check(60, "1m");
        check(86_399, "23h");
        check(86_400 * 12, "12d");
    }
}
