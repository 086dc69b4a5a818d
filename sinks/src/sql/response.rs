//! What the crew and the gate did, as rows: steps in `agent_executions`, proposals and what became of them in `remediations`.
//!
//! [`Response`] is pure; [`step`], [`propose`] and [`move_on`] write one row each. They look first whether it is there, instead of
//! leaving that to a conflict: with TimescaleDB the id alone is no key, and what a row was before must leave its rollups. There are
//! few of these rows.

use std::collections::BTreeMap;

use model::IncidentId;
use model::approval::Effect;
use model::investigation::{StepEvent, StepRequest, StepResult};
use model::proposal::{Proposal, TargetState};
use model::remediation::{RemediationEvent, RemediationFact, RemediationStatus};
use serde::Serialize;
use uuid::Uuid;

use super::error::StoreError;
use super::rollups::{Deltas, Of, int};
use super::store::{Dialects, Tx};
use super::tables::{self, Rows};
use super::value::Value;

/// Parameters of [`MOVE`].
pub type Move = [Value; 7];

/// A fact about a remediation that stands. The dialects differ in the type of JSON.
pub const MOVE: Dialects = Dialects {
    sqlite: "UPDATE remediations SET status = COALESCE($1, status), decided_by = COALESCE($2, decided_by), note = COALESCE($3, note), \
        before_state = COALESCE($4, before_state), after_state = COALESCE($5, after_state), updated_at = $6 WHERE id = $7",
    postgres: "UPDATE remediations SET status = COALESCE($1, status), decided_by = COALESCE($2, decided_by), note = COALESCE($3, note), \
        before_state = COALESCE($4::jsonb, before_state), after_state = COALESCE($5::jsonb, after_state), updated_at = $6 \
        WHERE id = $7",
};

const STEP: &str =
    "SELECT created_at, agent_name, status, tokens_used, duration_ms FROM agent_executions WHERE id = $1";

/// The first answer stays.
const ANSWER: Dialects = Dialects {
    sqlite: "UPDATE agent_executions SET output_data = $3, tool_calls = $4, tokens_used = $5, duration_ms = $6, status = $7, \
        error = $8, finished_at = $9 WHERE id = $1 AND created_at = $2 AND status = 'running'",
    postgres: "UPDATE agent_executions SET output_data = $3::jsonb, tool_calls = $4::jsonb, tokens_used = $5, duration_ms = $6, \
        status = $7, error = $8, finished_at = $9 WHERE id = $1 AND created_at = $2 AND status = 'running'",
};

const REMEDIATION: &str = "SELECT created_at, action_type, namespace, status FROM remediations WHERE id = $1";

/// An incident that is not here yet, by name: its row replaces this one.
pub const PLACEHOLDER: &str = "INSERT INTO incidents (id, alert_id, source, severity, status, title, created_at, \
    canonical_key, revision, tenant, environment, updated_at, members, firing) \
    VALUES ($1, '', '', 'warning', 'open', '', $2, $1, 0, '', '', $2, 0, 0) ON CONFLICT DO NOTHING";

#[derive(Debug, Default)]
pub struct Response {
    placeholders: BTreeMap<IncidentId, Value>,
    /// Within one transaction a step appears once.
    executions: BTreeMap<Uuid, Vec<Value>>,
    remediations: BTreeMap<Uuid, Vec<Value>>,
    moved: Vec<Move>,
}

/// Column of `agent_executions` in its row.
const STATUS: usize = 8;

impl Response {
    pub fn step(&mut self, event: &StepEvent) {
        match event {
            StepEvent::Requested(request) => {
                self.placeholders
                    .insert(request.evidence.incident.id, Value::time(request.requested_at));
                self.executions.entry(request.id).or_insert_with(|| asked(request));
            }
            StepEvent::Finished(result) => {
                self.placeholders.insert(result.incident_id, Value::time(result.at));
                let running = Value::text("running");
                match self.executions.get_mut(&result.id) {
                    // The first answer stays.
                    Some(row) if row[STATUS] != running => {}
                    Some(row) => answer(row, result),
                    None => {
                        let mut row = unasked(result);
                        answer(&mut row, result);
                        self.executions.insert(result.id, row);
                    }
                }
            }
            StepEvent::Ordered(_) | StepEvent::Remediation { .. } => {}
        }
    }

    pub fn remediation(&mut self, event: &RemediationEvent) {
        use RemediationStatus as S;
        let (status, by, note, before, after) = match &event.fact {
            RemediationFact::Proposed { proposal } => {
                self.placeholders.insert(proposal.incident_id, Value::time(event.at));
                self.remediations
                    .entry(proposal.id)
                    .or_insert_with(|| proposed(proposal));
                return;
            }
            RemediationFact::Decided { decision, .. } if decision.effect == Effect::Ask => {
                (S::Waiting, None, Some(&decision.why), None, None)
            }
            RemediationFact::Forged { kind, offset, why } => {
                let note = format!("refused: a forged {kind} at offset {offset}: {why}");
                return self.moved.push(note_of(event, &note));
            }
            RemediationFact::Granted { grant, .. } => (S::Granted, Some(grant.by.label()), None, None, None),
            RemediationFact::Denied { by, reason } => (S::Denied, Some(by.clone()), Some(reason), None, None),
            RemediationFact::Expired => (S::Expired, None, None, None, None),
            RemediationFact::Attempted { before } => (S::Attempted, None, None, Some(before), None),
            RemediationFact::Executed { before, note } => (S::Executed, None, Some(note), Some(before), None),
            RemediationFact::Failed { cause } => (S::Failed, None, Some(cause), None, None),
            // What it looks like by now; the status waits for the gate.
            RemediationFact::Checked { note, .. } => {
                return self.moved.push(note_of(event, note));
            }
            RemediationFact::Verified { before, after } => (S::Verified, None, None, Some(before), Some(after)),
            RemediationFact::Unverified { note } => (S::Unverified, None, Some(note), None, None),
            RemediationFact::RolledBack { note } => (S::RolledBack, None, Some(note), None, None),
            RemediationFact::Decided { .. }
            | RemediationFact::CheckDue { .. }
            | RemediationFact::RollbackDue { .. }
            | RemediationFact::Approve { .. }
            | RemediationFact::Deny { .. }
            | RemediationFact::StopSwitch { .. } => return,
        };
        self.moved.push([
            Value::text(status.as_str()),
            Value::option(by.as_deref(), Value::text),
            Value::option(note, |note| Value::text(note)),
            Value::option(before, state),
            Value::option(after, state),
            Value::time(event.at),
            Value::Uuid(event.id),
        ]);
    }

    /// Placeholders, rows of `agent_executions`, rows of `remediations`, and what became of those.
    #[allow(clippy::type_complexity)] // Taken apart at once, by the one caller.
    pub fn into_parts(self) -> (Vec<[Value; 2]>, Vec<Vec<Value>>, Vec<Vec<Value>>, Vec<Move>) {
        let placeholders = self.placeholders.into_iter().map(|(id, at)| [Value::Uuid(id.0), at]);
        (
            placeholders.collect(),
            self.executions.into_values().collect(),
            self.remediations.into_values().collect(),
            self.moved,
        )
    }
}

/// Writes a row of `agent_executions`: a step that is asked for, or its answer.
pub async fn step(tx: &mut Tx, row: Vec<Value>, deltas: &mut Deltas) -> Result<(), StoreError> {
    let (agent, status) = (row[2].clone(), row[STATUS].clone());
    let sums = [1, int(&row[6]), int(&row[7])];
    let found = tx.query("agent_executions", STEP, &row[..1]).await?;
    let Some(found) = found.first() else {
        let at = row[9].clone();
        insert(tx, &tables::AGENT_EXECUTIONS, row).await?;
        deltas.add(Of::Executions, &at, &[&agent, &status], &sums, 1);
        return Ok(());
    };
    if status == Value::text("running") {
        return Ok(());
    }
    let at = Value::Time(found.time("created_at")?);
    let mut args = vec![row[0].clone(), at.clone()];
    args.extend([4, 5, 6, 7, STATUS, 12, 13].map(|column| row[column].clone()));
    let sql = tx.pick(ANSWER);
    if tx.execute("agent_executions", sql, &args).await? == 1 {
        let (was, before) = (
            Value::text(&found.text("agent_name")?),
            Value::text(&found.text("status")?),
        );
        let gone = [
            1,
            found.opt_int("tokens_used")?.unwrap_or(0),
            found.opt_int("duration_ms")?.unwrap_or(0),
        ];
        deltas.add(Of::Executions, &at, &[&was, &before], &gone, -1);
        deltas.add(Of::Executions, &at, &[&was, &status], &sums, 1);
    }
    Ok(())
}

/// Writes a row of `remediations`, unless it is there.
pub async fn propose(tx: &mut Tx, row: Vec<Value>, deltas: &mut Deltas) -> Result<(), StoreError> {
    if !tx.query("remediations", REMEDIATION, &row[..1]).await?.is_empty() {
        return Ok(());
    }
    deltas.add(Of::Remediations, &row[6], &[&row[2], &row[4], &row[5]], &[1], 1);
    insert(tx, &tables::REMEDIATIONS, row).await
}

/// Writes what became of a remediation.
pub async fn move_on(tx: &mut Tx, moved: Move, deltas: &mut Deltas) -> Result<(), StoreError> {
    let found = tx.query("remediations", REMEDIATION, &moved[6..]).await?;
    let Some(found) = found.first() else { return Ok(()) };
    let sql = tx.pick(MOVE);
    tx.execute("remediations", sql, &moved).await?;
    if moved[0] != Value::Null {
        let at = Value::Time(found.time("created_at")?);
        let action = Value::text(&found.text("action_type")?);
        let namespace = Value::option(found.opt_text("namespace")?, Value::Text);
        let before = Value::text(&found.text("status")?);
        deltas.add(Of::Remediations, &at, &[&action, &namespace, &before], &[1], -1);
        deltas.add(Of::Remediations, &at, &[&action, &namespace, &moved[0]], &[1], 1);
    }
    Ok(())
}

async fn insert(tx: &mut Tx, table: &'static tables::Table, row: Vec<Value>) -> Result<(), StoreError> {
    let rows = vec![row];
    tx.insert(&Rows { table, rows }).await.map(|_| ())
}

fn asked(request: &StepRequest) -> Vec<Value> {
    vec![
        Value::Uuid(request.id),
        Value::Uuid(request.evidence.incident.id.0),
        Value::text(request.agent.as_str()),
        json(&request.evidence),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::text("running"),
        Value::time(request.requested_at),
        Value::Uuid(request.run),
        Value::Int(request.attempt.into()),
        Value::Null,
        Value::Null,
    ]
}

/// A row for an answer whose request is gone.
fn unasked(result: &StepResult) -> Vec<Value> {
    vec![
        Value::Uuid(result.id),
        Value::Uuid(result.incident_id.0),
        Value::text(result.agent.as_str()),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::text("running"),
        Value::time(result.at),
        Value::Uuid(result.run),
        Value::Int(1),
        Value::Null,
        Value::Null,
    ]
}

/// A new note; everything else of the row stays.
fn note_of(event: &RemediationEvent, note: &str) -> [Value; 7] {
    let mut told = [const { Value::Null }; 7];
    told[2] = Value::text(note);
    told[5] = Value::time(event.at);
    told[6] = Value::Uuid(event.id);
    told
}

fn answer(row: &mut [Value], result: &StepResult) {
    row[4] = json(&result.output);
    row[5] = json(&result.tool_calls);
    row[6] = Value::unsigned(result.tokens_used);
    row[7] = Value::unsigned(result.duration_ms);
    row[STATUS] = Value::text(result.status.as_str());
    row[12] = Value::option(Some(&result.error).filter(|error| !error.is_empty()), |error| {
        Value::text(error)
    });
    row[13] = Value::time(result.at);
}

fn proposed(proposal: &Proposal) -> Vec<Value> {
    let place = proposal.action.place();
    vec![
        Value::Uuid(proposal.id),
        Value::Uuid(proposal.incident_id.0),
        Value::text(proposal.action.kind().as_str()),
        Value::varchar(&proposal.action.target_label(), 255),
        Value::varchar(&place.scope, 100),
        Value::text(RemediationStatus::Proposed.as_str()),
        Value::time(proposal.proposed_at),
        Value::text(&place.system),
        Value::text(&proposal.plan_hash),
        Value::text(&proposal.reason),
        json(proposal),
        Value::text(&proposal.proposed_by),
        Value::time(proposal.expires_at),
        Value::time(proposal.proposed_at),
    ]
}

fn state(state: &TargetState) -> Value {
    json(state)
}

/// Structs of strings, numbers and lists of such always encode.
fn json(value: &impl Serialize) -> Value {
    Value::json(&serde_json::to_string(value).unwrap_or_default())
}
