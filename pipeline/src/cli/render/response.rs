//! Steps of investigations and remediations, as lists and one by one.

use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value as Json;
use sinks::sql::{ExecutionRow, RemediationRow};

use super::screen::{Screen, printable};
use super::table::{Table, Value};
use super::{Format, json_line};

pub fn steps(rows: &[ExecutionRow], format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return rows.iter().try_for_each(|row| json_line(row, out));
    }
    if rows.is_empty() {
        return if screen.stdout.terminal {
            writeln!(out, "no steps")
        } else {
            Ok(())
        };
    }
    let mut table = Table::new(["id", "incident", "agent", "status", "ms", "created_at", "found"]);
    for row in rows {
        table.row(vec![
            Value::text(row.id.to_string()),
            Value::text(row.incident_id.to_string()),
            Value::text(&row.agent_name),
            status(&row.status),
            Value::number(row.duration_ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string())),
            Value::text(time(row.created_at)),
            Value::text(found(row)),
        ]);
    }
    table.write(screen.stdout, out)
}

/// What a step brought, in one line.
fn found(row: &ExecutionRow) -> String {
    let output = &row.output;
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let first = [
        text(&output["triage"]["why"]),
        text(&output["findings"][0]["summary"]),
        text(&output["proposal"]["reason"]),
        text(&output["postmortem"]["root_cause"]["text"]),
        row.error.clone(),
        text(&output["unknown"][0]).map(|what| format!("not known: {what}")),
    ];
    first.into_iter().flatten().next().unwrap_or_default()
}

pub fn step(row: &ExecutionRow, format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return json_line(row, out);
    }
    writeln!(out, "{}  {}", row.agent_name, row.status)?;
    field(out, "id", Some(&row.id.to_string()))?;
    field(out, "incident", Some(&row.incident_id.to_string()))?;
    field(out, "created_at", Some(&time(row.created_at)))?;
    field(out, "finished_at", row.finished_at.map(time).as_deref())?;
    field(out, "error", row.error.as_deref())?;
    for finding in row.output["findings"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "\n  {}",
            printable(finding["summary"].as_str().unwrap_or_default())
        )?;
        citations(&finding["citations"], out)?;
    }
    for unknown in row.output["unknown"].as_array().into_iter().flatten() {
        writeln!(
            out,
            "\n  not known: {}",
            printable(unknown.as_str().unwrap_or_default())
        )?;
    }
    let calls: Vec<&Json> = row.tool_calls.as_array().into_iter().flatten().collect();
    if !calls.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(["tool", "ms", "outcome", "arguments"]);
        for call in calls {
            let outcome = match (&call["outcome"]["Ok"], &call["outcome"]["Err"]) {
                (Json::String(ok), _) => ok.clone(),
                (_, Json::String(error)) => format!("failed: {error}"),
                _ => String::new(),
            };
            table.row(vec![
                Value::text(call["tool"].as_str().unwrap_or_default()),
                Value::number(call["duration_ms"].to_string()),
                Value::text(outcome),
                Value::text(call["arguments"].to_string()),
            ]);
        }
        table.write(screen.stdout, out)?;
    }
    Ok(())
}

pub fn remediations(rows: &[RemediationRow], format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return rows.iter().try_for_each(|row| json_line(row, out));
    }
    if rows.is_empty() {
        return if screen.stdout.terminal {
            writeln!(out, "no remediations")
        } else {
            Ok(())
        };
    }
    let mut table = Table::new([
        "id",
        "status",
        "action",
        "target",
        "namespace",
        "by",
        "created_at",
        "reason",
    ]);
    for row in rows {
        table.row(vec![
            Value::text(row.id.to_string()),
            status(&row.status),
            Value::text(&row.action_type),
            Value::text(&row.target),
            Value::text(row.namespace.as_deref().unwrap_or("-")),
            Value::text(row.decided_by.as_deref().unwrap_or("-")),
            Value::text(time(row.created_at)),
            Value::text(&row.reason),
        ]);
    }
    table.write(screen.stdout, out)
}

pub fn remediation(row: &RemediationRow, format: Format, screen: &Screen, out: &mut impl Write) -> io::Result<()> {
    if format == Format::Json {
        return json_line(row, out);
    }
    let _ = screen;
    let namespace = row.namespace.as_deref().unwrap_or("-");
    writeln!(
        out,
        "{} {} in {namespace}  {}",
        row.action_type,
        printable(&row.target),
        row.status
    )?;
    field(out, "id", Some(&row.id.to_string()))?;
    field(out, "incident", Some(&row.incident_id.to_string()))?;
    field(out, "cluster", Some(&row.cluster))?;
    field(out, "reason", Some(&row.reason))?;
    field(out, "proposed_by", Some(&row.proposed_by))?;
    field(out, "decided_by", row.decided_by.as_deref())?;
    field(out, "note", row.note.as_deref())?;
    field(out, "expires_at", Some(&time(row.expires_at)))?;
    field(out, "plan_hash", Some(&row.plan_hash))?;
    let radius = &row.proposal["blast_radius"];
    let touches = format!("{} workloads, {} pods", radius["workloads"], radius["pods"]);
    field(out, "touches", Some(&touches))?;
    field(
        out,
        "inverse",
        row.proposal["inverse"]["type"].as_str().or(Some("none")),
    )?;
    if let Some(diff) = row.proposal["dry_run"].as_str().filter(|diff| !diff.is_empty()) {
        writeln!(out, "\n  dry run:")?;
        for line in diff.lines() {
            writeln!(out, "    {}", printable(line))?;
        }
    }
    citations(&row.proposal["citations"], out)
}

fn citations(list: &Json, out: &mut impl Write) -> io::Result<()> {
    for citation in list.as_array().into_iter().flatten() {
        let text = |name: &str| printable(citation[name].as_str().unwrap_or_default());
        writeln!(out, "    [{}] {}", text("id"), text("query"))?;
    }
    Ok(())
}

fn field(out: &mut impl Write, name: &str, value: Option<&str>) -> io::Result<()> {
    match value {
        Some(value) => writeln!(out, "  {name:<12} {}", printable(value)),
        None => Ok(()),
    }
}

fn status(word: &str) -> Value {
    use anstyle::AnsiColor::{Green, Red, Yellow};
    let value = Value::text(word);
    match word {
        "success" | "verified" => value.color(Green),
        "waiting" | "running" | "granted" | "attempted" | "executed" => value.color(Yellow),
        "failed" | "timeout" | "denied" | "rolled_back" | "unverified" => value.color(Red),
        _ => value,
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
