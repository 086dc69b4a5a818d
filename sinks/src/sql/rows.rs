//! Records to rows: what each topic's payload becomes in the tables. Pure; nothing here talks to a store.
//!
//! A record is taken whole or refused whole. Within one transaction an incident appears once, at its newest revision,
//! and so does each member; events, signals, dead letters and notifications are all kept.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use model::investigation::StepEvent;
use model::remediation::RemediationEvent;
use model::{
    DeadLetter, EpisodeId, Fact, IncidentEvent, IncidentId, LetterDone, LetterFact, Member, Notification, SignalBatch,
    SignalRow, topics,
};
use stream::accounting::{Accounting, AccountingRecord};
use stream::{Record, SinkReject, TopicPartition};

use super::response::{self, Response};
use super::rollups;
use super::tables::{self, Rows};
use super::value::{Value, clamp_micros};

/// Microseconds that one row of `pipeline_metrics` sums up. Lower: more rows; higher: a storm's first seconds are averaged away.
const METRICS_STEP: i64 = 10_000_000;

/// What a set of records changes.
#[derive(Debug, Default)]
pub struct Changes {
    incidents: BTreeMap<IncidentId, (u64, Vec<Value>)>,
    events: Vec<Vec<Value>>,
    members: BTreeMap<(IncidentId, EpisodeId), Vec<Value>>,
    /// Incidents that ended by a merge: their members moved away.
    emptied: BTreeSet<IncidentId>,
    signals: Vec<Vec<Value>>,
    dead_letters: Vec<Vec<Value>>,
    notifications: Vec<Vec<Value>>,
    /// By where the ten seconds begin (microseconds), stage, and what it read.
    metrics: BTreeMap<(i64, String, String, u32), [u64; 11]>,
    /// What became of letters, in order: status, when, why, and the letter's place.
    dealt_with: Vec<[Value; 5]>,
    /// What the crew and the gate did.
    response: Response,
}

/// What a transaction does, in this order.
#[derive(Debug)]
pub struct Writes {
    /// Incidents whose members are deleted.
    pub emptied: Vec<IncidentId>,
    /// Parents before children.
    pub rows: Vec<Rows>,
    /// What to say of letters that stand already.
    pub dealt_with: Vec<[Value; 5]>,
    /// Incidents that must be there, if only by name: id and time.
    pub placeholders: Vec<[Value; 2]>,
    /// Rows of `agent_executions` and of `remediations`.
    pub executions: Vec<Vec<Value>>,
    pub remediations: Vec<Vec<Value>>,
    /// What became of remediations, in order.
    pub moved: Vec<response::Move>,
}

impl Writes {
    /// Whether something is written that rollups count.
    pub fn is_counted(&self) -> bool {
        let plain = |rows: &Rows| !rows.rows.is_empty() && rollups::counted(rows.table.name).is_some();
        self.rows.iter().any(plain)
            || !(self.executions.is_empty() && self.remediations.is_empty() && self.moved.is_empty())
    }
}

impl Changes {
    /// Adds what `record` says. Records of the kernel's own (progress, settings) change nothing.
    pub fn add(&mut self, from: &TopicPartition, record: &Record) -> Result<(), SinkReject> {
        let about_a_letter = *from.topic == *topics::DEAD_LETTER
            && record
                .header(stream::progress::KIND_HEADER)
                .is_some_and(|kind| kind.as_ref() == LetterFact::KIND.as_bytes());
        if !about_a_letter && !stream::progress::is_data_for(record, super::SqlSink::STAGE) {
            return Ok(());
        }
        let reject = |reason, detail: String| SinkReject {
            partition: from.clone(),
            offset: record.offset,
            reason,
            detail,
        };
        let json = |e: serde_json::Error| reject("undecodable", format!("{from}: {e}"));
        match &*from.topic {
            topics::SIGNALS => {
                let batch =
                    SignalBatch::decode(&record.value).map_err(|e| reject("undecodable", format!("{from}: {e}")))?;
                self.signals
                    .extend(batch.rows().map(|row| signal(&row, from.partition, record.offset.0)));
            }
            topics::INCIDENTS if record.header(topics::header::TYPE).is_some() => {
                let step: StepEvent = serde_json::from_slice(&record.value).map_err(json)?;
                self.response.step(&step);
            }
            topics::REMEDIATIONS => {
                let event: RemediationEvent = serde_json::from_slice(&record.value).map_err(json)?;
                self.response.remediation(&event);
            }
            topics::INCIDENTS => {
                let event: IncidentEvent = serde_json::from_slice(&record.value).map_err(json)?;
                if event.schema != IncidentEvent::SCHEMA {
                    return Err(reject(
                        "unknown_schema",
                        format!("{from}: incident event of schema {}", event.schema),
                    ));
                }
                self.incident(&event, &String::from_utf8_lossy(&record.value));
            }
            topics::DEAD_LETTER if about_a_letter => {
                let fact: LetterFact = serde_json::from_slice(&record.value).map_err(json)?;
                self.dealt_with.push(letter_fact(&fact, from.partition));
            }
            topics::DEAD_LETTER => {
                let letter: DeadLetter = serde_json::from_slice(&record.value).map_err(json)?;
                self.dead_letters
                    .push(dead_letter(&letter, from.partition, record.offset.0));
            }
            topics::NOTIFICATIONS => {
                let message: Notification = serde_json::from_slice(&record.value).map_err(json)?;
                self.notifications.push(notification(&message));
            }
            topics::ACCOUNTING => {
                let said: AccountingRecord = serde_json::from_slice(&record.value).map_err(json)?;
                let at = clamp_micros(record.timestamp.0).div_euclid(METRICS_STEP) * METRICS_STEP;
                let place = (at, said.stage, said.topic, said.partition);
                let counts = accounted(&said.counts);
                // Time goes on while nothing comes: a row of every ten seconds that counts nothing says nothing.
                if counts[1..].iter().all(|count| *count == 0) {
                    return Ok(());
                }
                let sums = self.metrics.entry(place).or_default();
                for (sum, count) in sums.iter_mut().zip(counts) {
                    *sum = sum.saturating_add(count);
                }
            }
            other => {
                return Err(reject(
                    "unknown_topic",
                    format!("the SQL sink has no table for topic {other}"),
                ));
            }
        }
        Ok(())
    }

    /// Everything, in the order in which it must be written.
    pub fn into_writes(self) -> Writes {
        let (placeholders, executions, remediations, moved) = self.response.into_parts();
        let rows = vec![
            Rows {
                table: &tables::INCIDENTS,
                rows: self.incidents.into_values().map(|(_, row)| row).collect(),
            },
            Rows {
                table: &tables::INCIDENT_EVENTS,
                rows: self.events,
            },
            Rows {
                table: &tables::INCIDENT_MEMBERS,
                rows: self.members.into_values().collect(),
            },
            Rows {
                table: &tables::SIGNALS,
                rows: self.signals,
            },
            Rows {
                table: &tables::DEAD_LETTERS,
                rows: self.dead_letters,
            },
            Rows {
                table: &tables::NOTIFICATIONS,
                rows: self.notifications,
            },
            Rows {
                table: &tables::PIPELINE_METRICS,
                rows: self.metrics.into_iter().map(metrics).collect(),
            },
        ];
        Writes {
            emptied: self.emptied.into_iter().collect(),
            rows,
            dealt_with: self.dealt_with,
            placeholders,
            executions,
            remediations,
            moved,
        }
    }

    fn incident(&mut self, event: &IncidentEvent, payload: &str) {
        let (id, revision) = (event.incident.id, event.incident.revision);
        if self.incidents.get(&id).is_none_or(|(newest, _)| *newest < revision) {
            self.incidents.insert(id, (revision, incident(event)));
        }
        self.events.push(incident_event(event, payload));
        match &event.fact {
            Fact::Opened { member } | Fact::SignalJoined { member } | Fact::MemberChanged { member } => {
                self.members
                    .insert((id, member.episode), self::member(id, member, revision));
            }
            Fact::Absorbed { other: _, members } => {
                let rows = members.iter().map(|m| ((id, m.episode), member(id, m, revision)));
                self.members.extend(rows);
            }
            Fact::Merged { into: _ } => {
                self.members.retain(|(incident, _), _| *incident != id);
                self.emptied.insert(id);
            }
            Fact::Escalated { .. }
            | Fact::Resolved
            | Fact::Reopened { .. }
            | Fact::SuspectFound { .. }
            | Fact::Acknowledged { .. }
            | Fact::FindingAdded { .. }
            | Fact::PostmortemAdded { .. }
            | Fact::Closed { .. } => {}
        }
    }
}

fn signal(row: &SignalRow<'_>, log_partition: u32, log_offset: u64) -> Vec<Value> {
    vec![
        Value::micros(row.event_at),
        Value::Int(row.origin.partition.into()),
        Value::unsigned(row.origin.offset),
        Value::Int(row.origin.index.into()),
        Value::Uuid(row.id.0),
        Value::text(row.tenant),
        Value::text(row.environment),
        Value::text(row.source),
        Value::text(row.kind.as_str()),
        Value::text(row.state.as_str()),
        Value::text(row.dedup_key),
        Value::text(row.dedup_rule),
        Value::micros(row.observed_at),
        Value::micros(row.effective_at),
        Value::option(row.ends_at, Value::micros),
        Value::text(row.severity.as_str()),
        Value::text(row.title),
        Value::option(row.description, Value::text),
        Value::option(row.service, |s| Value::varchar(s, 255)),
        Value::option(row.cluster, Value::text),
        Value::option(row.namespace, Value::text),
        Value::option(row.group, Value::text),
        Value::json(row.labels),
        Value::json(row.annotations),
        Value::option(row.extra, Value::json),
        Value::Int(log_partition.into()),
        Value::unsigned(log_offset),
    ]
}

fn incident(event: &IncidentEvent) -> Vec<Value> {
    let i = &event.incident;
    vec![
        Value::Uuid(i.id.0),
        // The whole dedup key is in incident_members.
        Value::varchar(&i.alert_id, 255),
        Value::varchar(&i.source, 50),
        Value::text(i.severity.as_str()),
        Value::text(i.status.as_str()),
        Value::text(&i.title),
        Value::option(i.service.as_deref(), |s| Value::varchar(s, 255)),
        Value::Bool(i.resolved_by.as_deref() == Some("agent")),
        Value::option(i.resolved_by.as_deref(), |s| Value::varchar(s, 255)),
        Value::time(i.created_at),
        Value::option(i.resolved_at, Value::time),
        Value::Uuid(i.canonical_key.0),
        Value::unsigned(i.revision),
        Value::text(&i.tenant),
        Value::text(&i.environment),
        Value::option(i.merged_into, |id| Value::Uuid(id.0)),
        Value::time(event.observed_at),
        Value::Int(i.members.into()),
        Value::Int(i.firing.into()),
        Value::option(i.root_cause.as_deref(), Value::text),
        Value::option(i.resolution.as_deref(), Value::text),
    ]
}

fn incident_event(event: &IncidentEvent, payload: &str) -> Vec<Value> {
    vec![
        Value::Uuid(event.incident.id.0),
        Value::unsigned(event.incident.revision),
        Value::time(event.at),
        Value::time(event.observed_at),
        Value::text(event.fact.name()),
        Value::json(payload),
        Value::text(&event.incident.tenant),
        Value::text(&event.incident.environment),
        Value::option(event.incident.service.as_deref(), |s| Value::varchar(s, 255)),
        Value::text(event.incident.severity.as_str()),
        match &event.fact {
            Fact::Opened { member } => elapsed(member.starts_at, event.observed_at),
            _ => Value::Null,
        },
        elapsed(event.incident.created_at, event.at),
    ]
}

/// Milliseconds from `from` to `to`; 0 where that lies before.
fn elapsed(from: DateTime<Utc>, to: DateTime<Utc>) -> Value {
    Value::Int((to - from).num_milliseconds().max(0))
}

/// What one accounting record adds to its row, in the order of the columns.
fn accounted(counts: &Accounting) -> [u64; 11] {
    [
        1,
        counts.bodies,
        counts.items_in,
        counts.forwarded,
        counts.merged,
        counts.suppressed.values().sum(),
        counts.late,
        counts.dead_lettered,
        counts.held,
        counts.released,
        counts.produced.values().sum(),
    ]
}

fn member(incident: IncidentId, m: &Member, revision: u64) -> Vec<Value> {
    vec![
        Value::Uuid(incident.0),
        Value::Uuid(m.episode.0),
        Value::Uuid(m.signal.0),
        Value::text(&m.dedup_key),
        Value::text(&m.source),
        Value::text(&m.title),
        Value::text(m.severity.as_str()),
        Value::option(m.service.as_deref(), Value::text),
        Value::time(m.starts_at),
        Value::option(m.ends_at, Value::time),
        Value::text(&m.rule),
        Value::option(m.key.as_deref(), Value::text),
        Value::option(m.linked_to, |id| Value::Uuid(id.0)),
        Value::option(m.apart_ms, Value::Int),
        Value::unsigned(revision),
    ]
}

fn dead_letter(letter: &DeadLetter, log_partition: u32, log_offset: u64) -> Vec<Value> {
    let headers = serde_json::Value::from_iter(
        letter
            .headers
            .iter()
            .map(|(name, value)| serde_json::json!([name, value])),
    );
    vec![
        Value::Int(log_partition.into()),
        Value::unsigned(log_offset),
        Value::text(&letter.stage),
        Value::text(&letter.reason),
        Value::text(&letter.detail),
        Value::option(letter.field.as_deref(), Value::text),
        Value::text(&letter.topic),
        Value::Int(letter.partition.into()),
        Value::unsigned(letter.offset),
        Value::option(letter.index, |index| Value::Int(index.into())),
        Value::time(letter.received_at),
        Value::Int(letter.attempt.into()),
        Value::json(&headers.to_string()),
        Value::text(&letter.body_base64),
    ]
}

/// Parameters of the statement that marks a letter.
fn letter_fact(fact: &LetterFact, log_partition: u32) -> [Value; 5] {
    let because = match &fact.done {
        LetterDone::Replayed { .. } => None,
        LetterDone::Dropped { because } => Some(because.as_str()),
    };
    [
        Value::text(fact.done.status()),
        Value::time(fact.at),
        Value::option(because, Value::text),
        Value::Int(log_partition.into()),
        Value::unsigned(fact.letter),
    ]
}

fn metrics(((at, stage, input, partition), sums): ((i64, String, String, u32), [u64; 11])) -> Vec<Value> {
    let place = [
        Value::micros(at),
        Value::text(&stage),
        Value::text(&input),
        Value::Int(partition.into()),
    ];
    place.into_iter().chain(sums.map(Value::unsigned)).collect()
}

fn notification(message: &Notification) -> Vec<Value> {
    vec![
        Value::Uuid(message.id),
        Value::Uuid(message.incident_id.0),
        Value::unsigned(message.revision),
        Value::text(&message.event),
        Value::text(message.severity.as_str()),
        Value::text(message.status.as_str()),
        Value::text(&message.title),
        Value::option(message.service.as_deref(), Value::text),
        Value::time(message.at),
    ]
}
