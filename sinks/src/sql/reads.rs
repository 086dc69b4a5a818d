//! The read side of a store: typed rows for the command line and the API. Read-only, always bounded.

use chrono::{DateTime, Utc};
use model::incident::CANARY;
use model::{Severity, Status};
use serde::Serialize;
use uuid::Uuid;

use super::error::StoreError;
use super::store::{Row, Store};
use super::value::Value;

/// A row of `incidents`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentRow {
    pub id: Uuid,
    pub alert_id: String,
    pub source: String,
    /// critical, warning or info.
    pub severity: String,
    /// open, investigating or resolved.
    pub status: String,
    pub title: String,
    pub service: Option<String>,
    pub root_cause: Option<String>,
    pub resolution: Option<String>,
    pub auto_resolved: bool,
    pub resolved_by: Option<String>,
    /// Event time of the earliest member.
    pub created_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub metadata: serde_json::Value,
    pub canonical_key: Uuid,
    pub revision: i64,
    pub tenant: String,
    pub environment: String,
    /// The incident that this one was merged into; follow it for the members.
    pub merged_into: Option<Uuid>,
    pub updated_at: DateTime<Utc>,
    pub members: i64,
    pub firing: i64,
}

/// A row of `incident_members`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberRow {
    pub episode: Uuid,
    pub signal_id: Uuid,
    pub dedup_key: String,
    pub source: String,
    pub title: String,
    pub severity: String,
    pub service: Option<String>,
    pub starts_at: DateTime<Utc>,
    pub ends_at: Option<DateTime<Utc>>,
    pub rule: String,
    pub link_key: Option<String>,
    pub linked_to: Option<Uuid>,
    pub apart_ms: Option<i64>,
}

/// A row of `incident_events`, without the incident's id.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRow {
    pub revision: i64,
    pub at: DateTime<Utc>,
    pub observed_at: DateTime<Utc>,
    /// `opened`, `signal_joined`, …
    pub fact: String,
    /// The record as it stands on topic `incidents`.
    pub payload: serde_json::Value,
}

/// An incident with its first members (by start) and its first events (by revision).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentDetail {
    pub incident: IncidentRow,
    pub members: Vec<MemberRow>,
    pub events: Vec<EventRow>,
}

/// Which incidents. Empty: all that were not merged into another. Those of canaries are never listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IncidentFilter {
    pub status: Option<Status>,
    pub severity: Option<Severity>,
    pub service: Option<String>,
    /// Words; each is held by title, service, root cause, environment or source, in any case.
    pub text: Option<String>,
    /// Not before this, by `created_at`.
    pub since: Option<DateTime<Utc>>,
    /// Before this, by `created_at`.
    pub until: Option<DateTime<Utc>>,
    /// Also those that live on in another incident.
    pub merged: bool,
}

/// How many rows there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Not counting merged ones.
    pub incidents: i64,
    pub open: i64,
    pub resolved: i64,
    pub merged: i64,
    pub members: i64,
    pub signals: i64,
    pub dead_letters: i64,
    pub notifications: i64,
}

/// Members and events of one incident are cut here; a storm may have joined a hundred thousand.
pub const DETAIL_LIMIT: i64 = 10_000;

const COUNTS: &str = "SELECT \
    (SELECT COUNT(*) FROM incidents WHERE revision > 0 AND merged_into IS NULL) AS incidents, \
    (SELECT COUNT(*) FROM incidents WHERE revision > 0 AND merged_into IS NULL AND status <> 'resolved') AS open, \
    (SELECT COUNT(*) FROM incidents WHERE merged_into IS NULL AND status = 'resolved') AS resolved, \
    (SELECT COUNT(*) FROM incidents WHERE merged_into IS NOT NULL) AS merged, \
    (SELECT COUNT(*) FROM incident_members) AS members, \
    (SELECT COUNT(*) FROM signals) AS signals, \
    (SELECT COUNT(*) FROM dead_letters) AS dead_letters, \
    (SELECT COUNT(*) FROM notifications) AS notifications";

impl Store {
    /// Newest first (by `created_at`, then id).
    pub async fn incidents(
        &self,
        filter: &IncidentFilter,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<IncidentRow>, StoreError> {
        let (condition, mut args) = filter.condition();
        args.extend([Value::Int(limit.into()), Value::Int(offset.into())]);
        let sql = format!(
            "SELECT * FROM incidents WHERE {condition} ORDER BY created_at DESC, id LIMIT ${} OFFSET ${}",
            args.len() - 1,
            args.len()
        );
        let rows = self.query("reading incidents", &sql, &args).await?;
        rows.iter().map(incident).collect()
    }

    /// `None` if there is no such incident.
    pub async fn incident(&self, id: Uuid) -> Result<Option<IncidentDetail>, StoreError> {
        let args = [Value::Uuid(id), Value::Int(DETAIL_LIMIT)];
        let rows = self
            .query(
                "reading an incident",
                "SELECT * FROM incidents WHERE id = $1 AND revision > 0",
                &args[..1],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let incident = incident(row)?;
        let sql = "SELECT * FROM incident_members WHERE incident_id = $1 ORDER BY starts_at, episode LIMIT $2";
        let members = self.query("reading members", sql, &args).await?;
        // What was written since the incident was read would tell of a later one.
        let sql = "SELECT * FROM incident_events WHERE incident_id = $1 AND revision <= $3 ORDER BY revision LIMIT $2";
        let [id, limit] = args;
        let events = self
            .query("reading events", sql, &[id, limit, Value::Int(incident.revision)])
            .await?;
        Ok(Some(IncidentDetail {
            incident,
            members: members.iter().map(member).collect::<Result<_, _>>()?,
            events: events.iter().map(event).collect::<Result<_, _>>()?,
        }))
    }

    /// The row of an incident, without members and events.
    pub async fn incident_row(&self, id: Uuid) -> Result<Option<IncidentRow>, StoreError> {
        let sql = "SELECT * FROM incidents WHERE id = $1 AND revision > 0";
        let rows = self.query("reading an incident", sql, &[Value::Uuid(id)]).await?;
        rows.first().map(incident).transpose()
    }

    /// Counts every row: cheap on small tables, seconds on large ones.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        let rows = self.query("counting rows", COUNTS, &[]).await?;
        let Some(row) = rows.first() else {
            return Ok(Counts::default());
        };
        Ok(Counts {
            incidents: row.int("incidents")?,
            open: row.int("open")?,
            resolved: row.int("resolved")?,
            merged: row.int("merged")?,
            members: row.int("members")?,
            signals: row.int("signals")?,
            dead_letters: row.int("dead_letters")?,
            notifications: row.int("notifications")?,
        })
    }
}

/// A member of an incident that is not over, which fires.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenSignal {
    pub dedup_key: String,
    pub starts_at: DateTime<Utc>,
    pub namespace: Option<String>,
    pub labels: serde_json::Value,
}

/// More open signals of one sender than are read.
const OPEN_LIMIT: i64 = 10_000;

impl Store {
    /// The firing members of open incidents that come from `source` and whose dedup key begins with `prefix`, in which `_` and `%` stand
    /// for any other as well. One may be there twice.
    pub async fn open_signals(&self, source: &str, prefix: &str) -> Result<Vec<OpenSignal>, StoreError> {
        let sql = "SELECT m.dedup_key AS dedup_key, m.starts_at AS starts_at, s.namespace AS namespace, s.labels AS labels \
                   FROM incidents i JOIN incident_members m ON m.incident_id = i.id \
                   JOIN signals s ON s.event_at = m.starts_at AND s.id = m.signal_id \
                   WHERE i.status IN ('open', 'investigating') AND i.merged_into IS NULL AND m.ends_at IS NULL AND m.source = $1 AND m.dedup_key LIKE $2 \
                   ORDER BY m.starts_at DESC LIMIT $3";
        let args = [
            Value::text(source),
            Value::text(&format!("{prefix}%")),
            Value::Int(OPEN_LIMIT),
        ];
        let rows = self.query("reading open signals", sql, &args).await?;
        let open = |row: &Row| {
            Ok(OpenSignal {
                dedup_key: row.text("dedup_key")?,
                starts_at: row.time("starts_at")?,
                namespace: row.opt_text("namespace")?,
                labels: row.json("labels")?,
            })
        };
        rows.iter().map(open).collect()
    }

    /// Whether an alert whose title begins with `name`, and which began at `since` or later, stands in an incident of `environment`.
    pub async fn canary_arrived(
        &self,
        environment: &str,
        name: &str,
        since: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let sql = "SELECT m.title AS title FROM incidents i JOIN incident_members m ON m.incident_id = i.id \
                   WHERE i.created_at >= $1 AND i.environment = $2 AND m.title LIKE $3 LIMIT 1";
        let args = [
            Value::Time(since),
            Value::text(environment),
            Value::text(&format!("{name}%")),
        ];
        Ok(!self.query("looking for a canary", sql, &args).await?.is_empty())
    }
}

impl IncidentFilter {
    fn condition(&self) -> (String, Vec<Value>) {
        let mut terms = vec![
            if self.merged {
                "revision > 0"
            } else {
                "revision > 0 AND merged_into IS NULL"
            }
            .to_owned(),
        ];
        let mut args = vec![Value::text(CANARY)];
        terms.push("environment <> $1".to_owned());
        let mut equals = |column: &str, value: Option<&str>| {
            if let Some(value) = value {
                args.push(Value::text(value));
                terms.push(format!("{column} = ${}", args.len()));
            }
        };
        equals("status", self.status.map(Status::as_str));
        equals("severity", self.severity.map(Severity::as_str));
        equals("service", self.service.as_deref());
        for (compared, time) in [(">=", self.since), ("<", self.until)] {
            if let Some(time) = time {
                args.push(Value::time(time));
                terms.push(format!("created_at {compared} ${}", args.len()));
            }
        }
        // More words than this narrow nothing any more.
        let words = self.text.iter().flat_map(|text| text.split_whitespace()).take(WORDS);
        for word in words {
            args.push(Value::text(&holding(word)));
            let at = args.len();
            let holds = ["title", "service", "root_cause", "environment", "source"]
                .map(|column| format!("LOWER({column}) LIKE LOWER(${at}) ESCAPE '!'"));
            terms.push(format!("({})", holds.join(" OR ")));
        }
        (terms.join(" AND "), args)
    }
}

/// Words of a search that are looked for.
const WORDS: usize = 16;

/// A pattern of LIKE for whatever holds `text`.
fn holding(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

fn incident(row: &Row) -> Result<IncidentRow, StoreError> {
    Ok(IncidentRow {
        id: row.uuid("id")?,
        alert_id: row.text("alert_id")?,
        source: row.text("source")?,
        severity: row.text("severity")?,
        status: row.text("status")?,
        title: row.text("title")?,
        service: row.opt_text("service")?,
        root_cause: row.opt_text("root_cause")?,
        resolution: row.opt_text("resolution")?,
        auto_resolved: row.bool("auto_resolved")?,
        resolved_by: row.opt_text("resolved_by")?,
        created_at: row.time("created_at")?,
        resolved_at: row.opt_time("resolved_at")?,
        metadata: row.json("metadata")?,
        canonical_key: row.uuid("canonical_key")?,
        revision: row.int("revision")?,
        tenant: row.text("tenant")?,
        environment: row.text("environment")?,
        merged_into: row.opt_uuid("merged_into")?,
        updated_at: row.time("updated_at")?,
        members: row.int("members")?,
        firing: row.int("firing")?,
    })
}

fn member(row: &Row) -> Result<MemberRow, StoreError> {
    Ok(MemberRow {
        episode: row.uuid("episode")?,
        signal_id: row.uuid("signal_id")?,
        dedup_key: row.text("dedup_key")?,
        source: row.text("source")?,
        title: row.text("title")?,
        severity: row.text("severity")?,
        service: row.opt_text("service")?,
        starts_at: row.time("starts_at")?,
        ends_at: row.opt_time("ends_at")?,
        rule: row.text("rule")?,
        link_key: row.opt_text("link_key")?,
        linked_to: row.opt_uuid("linked_to")?,
        apart_ms: row.opt_int("apart_ms")?,
    })
}

fn event(row: &Row) -> Result<EventRow, StoreError> {
    Ok(EventRow {
        revision: row.int("revision")?,
        at: row.time("at")?,
        observed_at: row.time("observed_at")?,
        fact: row.text("fact")?,
        payload: row.json("payload")?,
    })
}
