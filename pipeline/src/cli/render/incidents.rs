//! Incidents as a list, and one incident with its members and history.

use std::io::{self, Write};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use model::trace::trace_id;
use model::{Fact, IncidentId, Severity};
use serde::Serialize;
use sinks::sql::{EventRow, IncidentDetail, IncidentRow, MemberRow};

use stream::human::HumanDuration;

use super::screen::{Screen, Stream, bold, printable, severity_color};
use super::table::{Table, Value};
use super::{Format, json_line};

/// A list, in the order given. CSV is not a form of this command; it is shown as a table.
pub fn incidents(rows: &[IncidentRow], format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return rows.iter().try_for_each(|row| json_line(row, out));
    }
    if rows.is_empty() {
        // Only for people: a script that counts lines must count none.
        return if screen.stdout.terminal {
            writeln!(out, "no incidents")
        } else {
            Ok(())
        };
    }
    let mut table = Table::new(["id", "severity", "status", "created_at", "service", "alerts", "title"]);
    for row in rows {
        table.row(vec![
            Value::text(row.id.to_string()),
            severity(&row.severity),
            status(&row.status),
            Value::text(time(row.created_at)),
            Value::text(row.service.as_deref().unwrap_or("-")),
            Value::number(format!("{}/{}", row.firing, row.members)),
            Value::text(&row.title),
        ]);
    }
    table.write(screen.stdout, out)
}

/// One incident with all that is known of it.
pub fn incident(detail: &IncidentDetail, format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return json_line(&Traced::of(detail), out);
    }
    let stream = screen.stdout;
    let row = &detail.incident;
    let severity = match row.severity.parse() {
        Ok(known) => stream.paint(bold(severity_color(known)), &row.severity),
        Err(_) => printable(&row.severity),
    };
    writeln!(
        out,
        "{severity}  {}",
        stream.paint(anstyle::Style::new().bold(), &printable(&row.title))
    )?;
    field(out, "id", Some(&row.id.to_string()))?;
    field(out, "trace_id", Some(&trace_id(IncidentId(row.id))))?;
    field(out, "status", Some(&row.status))?;
    field(out, "service", row.service.as_deref())?;
    field(out, "environment", Some(&row.environment))?;
    field(out, "created_at", Some(&time(row.created_at)))?;
    field(out, "resolved_at", row.resolved_at.map(time).as_deref())?;
    field(out, "resolved_by", row.resolved_by.as_deref())?;
    field(out, "merged_into", row.merged_into.map(|id| id.to_string()).as_deref())?;
    field(out, "root_cause", row.root_cause.as_deref())?;
    field(out, "resolution", row.resolution.as_deref())?;
    field(
        out,
        "alerts",
        Some(&format!("{} of {} firing", row.firing, row.members)),
    )?;
    if !detail.members.is_empty() {
        writeln!(out)?;
        members(&detail.members, stream, out)?;
    }
    if !detail.events.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(["revision", "at", "fact", "what"]);
        for event in &detail.events {
            table.row(vec![
                Value::number(event.revision),
                Value::text(time(event.at)),
                Value::text(&event.fact),
                Value::text(said(event)),
            ]);
        }
        table.write(stream, out)?;
    }
    Ok(())
}

/// As JSON, with the trace that tells of it.
#[derive(Serialize)]
struct Traced<'a> {
    trace_id: String,
    #[serde(flatten)]
    detail: &'a IncidentDetail,
}

impl<'a> Traced<'a> {
    fn of(detail: &'a IncidentDetail) -> Self {
        Traced {
            trace_id: trace_id(IncidentId(detail.incident.id)),
            detail,
        }
    }
}

/// What a fact says, in a line. Empty where its name says all, or a later program wrote what this one does not know.
fn said(event: &EventRow) -> String {
    let fact = event
        .payload
        .get("fact")
        .and_then(|fact| serde_json::from_value(fact.clone()).ok());
    match fact {
        Some(Fact::Opened { member } | Fact::SignalJoined { member }) => member.title,
        Some(Fact::MemberChanged { member }) => match member.ends_at {
            Some(_) => format!("{} ended", member.title),
            None => member.title,
        },
        Some(Fact::Escalated { from }) => format!("from {}", from.as_str()),
        Some(Fact::Absorbed { other, members }) => format!("{} alerts of {other}", members.len()),
        Some(Fact::Merged { into }) => format!("into {into}"),
        Some(Fact::SuspectFound { suspect }) => {
            // Seconds are near enough for people.
            let before = HumanDuration(Duration::from_secs(suspect.before_ms.max(0).unsigned_abs() / 1_000));
            format!("{} ({before} before, {})", suspect.title, suspect.source)
        }
        Some(Fact::Acknowledged { by }) => format!("by {by}"),
        Some(Fact::FindingAdded { by, finding }) => format!("{by}: {}", finding.summary),
        Some(Fact::PostmortemAdded { by, .. }) => format!("by {by}"),
        Some(Fact::Closed { by, resolution }) => format!("by {by}: {resolution}"),
        Some(Fact::Resolved | Fact::Reopened { .. }) | None => String::new(),
    }
}

fn members(rows: &[MemberRow], stream: Stream, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new(["severity", "starts_at", "ends_at", "service", "because", "title"]);
    for row in rows {
        let because = match &row.link_key {
            Some(key) => format!("{} {key}", row.rule),
            None => row.rule.clone(),
        };
        table.row(vec![
            severity(&row.severity),
            Value::text(time(row.starts_at)),
            Value::text(row.ends_at.map_or("firing".to_owned(), time)),
            Value::text(row.service.as_deref().unwrap_or("-")),
            Value::text(because),
            Value::text(&row.title),
        ]);
    }
    table.write(stream, out)
}

fn field(out: &mut impl Write, name: &str, value: Option<&str>) -> io::Result<()> {
    match value {
        Some(value) => writeln!(out, "  {name:<12} {}", printable(value)),
        None => Ok(()),
    }
}

fn severity(word: &str) -> Value {
    let value = Value::text(word);
    match word.parse::<Severity>() {
        Ok(severity) => value.color(severity_color(severity)),
        Err(_) => value,
    }
}

fn status(word: &str) -> Value {
    let value = Value::text(word);
    if word == "resolved" {
        value.color(anstyle::AnsiColor::Green)
    } else {
        value
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use sinks::sql::EventRow;
    use uuid::Uuid;

    use super::*;

    fn row() -> IncidentRow {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        IncidentRow {
            id: Uuid::from_u128(1),
            alert_id: "a1".into(),
            source: "alertmanager".into(),
            severity: "critical".into(),
            status: "open".into(),
            title: "Latency \u{1b}[31mhigh".into(),
            service: Some("checkout".into()),
            root_cause: None,
            resolution: None,
            auto_resolved: false,
            resolved_by: None,
            created_at: at,
            resolved_at: None,
            metadata: serde_json::json!({}),
            canonical_key: Uuid::from_u128(2),
            revision: 4,
            tenant: "default".into(),
            environment: "prod".into(),
            merged_into: None,
            updated_at: at,
            members: 3,
            firing: 2,
        }
    }

    fn listed(rows: &[IncidentRow], format: Format) -> String {
        let mut out = Vec::new();
        incidents(rows, format, &Screen::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn list() {
        let expected = "id                                    severity  status  created_at            service   alerts  title\n\
            00000000-0000-0000-0000-000000000001  critical  open    2023-11-14T22:13:20Z  checkout     2/3  \
            Latency \u{fffd}[31mhigh\n";
        assert_eq!(listed(&[row()], Format::Table), expected);
        assert_eq!(listed(&[], Format::Table), "");
    }

    #[test]
    fn json_lines() {
        let text = listed(&[row(), row()], Format::Json);
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["severity"], "critical");
        assert_eq!(lines[0]["created_at"], "2023-11-14T22:13:20Z");
    }

    #[test]
    fn detail() {
        let detail = IncidentDetail {
            incident: row(),
            members: vec![MemberRow {
                episode: Uuid::from_u128(3),
                signal_id: Uuid::from_u128(4),
                dedup_key: "d1".into(),
                source: "alertmanager".into(),
                title: "Latency".into(),
                severity: "warning".into(),
                service: None,
                starts_at: row().created_at,
                ends_at: None,
                rule: "same-service@1".into(),
                link_key: Some("service:prod/checkout".into()),
                linked_to: None,
                apart_ms: None,
            }],
            events: vec![EventRow {
                revision: 1,
                at: row().created_at,
                observed_at: row().created_at,
                fact: "opened".into(),
                payload: serde_json::json!({"fact": {"type": "suspect_found", "suspect": {"signal": Uuid::nil(), "title": "Deploy 7",
                    "source": "github", "service": "cart", "at": "2026-11-23T08:00:00Z", "before_ms": 303_400}}}),
            }],
        };
        let mut out = Vec::new();
        incident(&detail, Format::Table, &Screen::default(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for expected in [
            "critical  Latency",
            "2 of 3 firing",
            "00000000000000000000000000000001",
            "same-service@1 service:prod/checkout",
            "Deploy 7 (5m3s before, github)",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
        assert!(!text.contains("merged_into"), "what is not known is left out");
    }
}
