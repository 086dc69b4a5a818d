//! Runs and remediations as the gateway and the command line read them, and the positions of workers, which write no rows.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use stream::{LogId, Offset, SinkBatch, SinkError, TopicPartition};
use uuid::Uuid;

use super::error::StoreError;
use super::positions::{self, Seen};
use super::store::{Row, Store};
use super::value::Value;

/// A row of `agent_executions`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExecutionRow {
    pub id: Uuid,
    pub incident_id: Uuid,
    pub agent_name: String,
    pub run_id: Uuid,
    pub attempt: i64,
    /// `running`, `success`, `failed`, `timeout`, `cancelled`.
    pub status: String,
    pub error: Option<String>,
    pub tokens_used: Option<i64>,
    pub duration_ms: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    pub input: serde_json::Value,
    pub output: serde_json::Value,
    pub tool_calls: serde_json::Value,
}

/// A row of `remediations`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RemediationRow {
    pub id: Uuid,
    pub incident_id: Uuid,
    pub action_type: String,
    /// `deployment/api-server`.
    pub target: String,
    pub namespace: Option<String>,
    pub cluster: String,
    pub status: String,
    pub plan_hash: String,
    pub reason: String,
    pub proposed_by: String,
    pub decided_by: Option<String>,
    pub note: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub before_state: serde_json::Value,
    pub after_state: serde_json::Value,
    /// The proposal in full.
    pub proposal: serde_json::Value,
}

/// A row of `dead_letters`, without its bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LetterRow {
    pub log_partition: i64,
    pub log_offset: i64,
    pub stage: String,
    pub reason: String,
    pub detail: String,
    pub field: Option<String>,
    pub status: String,
    pub source_topic: String,
    pub source_partition: i64,
    pub source_offset: i64,
    pub received_at: DateTime<Utc>,
    pub attempt: i64,
}

/// Which rows; all given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseFilter {
    pub incident: Option<Uuid>,
    pub status: Option<String>,
}

impl ResponseFilter {
    fn condition(&self) -> (String, Vec<Value>) {
        let (mut terms, mut args) = (vec!["1 = 1".to_owned()], Vec::new());
        if let Some(incident) = self.incident {
            args.push(Value::Uuid(incident));
            terms.push(format!("incident_id = ${}", args.len()));
        }
        if let Some(status) = &self.status {
            args.push(Value::text(status));
            terms.push(format!("status = ${}", args.len()));
        }
        (terms.join(" AND "), args)
    }
}

impl Store {
    /// Steps, newest first.
    pub async fn executions(
        &self,
        filter: &ResponseFilter,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<ExecutionRow>, StoreError> {
        let (condition, args) = filter.condition();
        let sql = format!(
            "SELECT * FROM agent_executions WHERE {condition} ORDER BY created_at DESC, id LIMIT {limit} OFFSET {offset}"
        );
        let rows = self.query("reading agent_executions", &sql, &args).await?;
        rows.iter().map(execution).collect()
    }

    /// One step.
    pub async fn execution(&self, id: Uuid) -> Result<Option<ExecutionRow>, StoreError> {
        let sql = "SELECT * FROM agent_executions WHERE id = $1";
        let rows = self.query("reading agent_executions", sql, &[Value::Uuid(id)]).await?;
        rows.first().map(execution).transpose()
    }

    /// Remediations, newest first.
    pub async fn remediations(
        &self,
        filter: &ResponseFilter,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<RemediationRow>, StoreError> {
        let (condition, args) = filter.condition();
        let sql = format!(
            "SELECT * FROM remediations WHERE {condition} ORDER BY created_at DESC, id LIMIT {limit} OFFSET {offset}"
        );
        let rows = self.query("reading remediations", &sql, &args).await?;
        rows.iter().map(remediation).collect()
    }

    /// One remediation.
    pub async fn remediation(&self, id: Uuid) -> Result<Option<RemediationRow>, StoreError> {
        let sql = "SELECT * FROM remediations WHERE id = $1";
        let rows = self.query("reading remediations", sql, &[Value::Uuid(id)]).await?;
        rows.first().map(remediation).transpose()
    }

    /// Dead letters, newest first.
    pub async fn letters(&self, status: Option<&str>, limit: u32, offset: u32) -> Result<Vec<LetterRow>, StoreError> {
        let args: Vec<Value> = status.map(Value::text).into_iter().collect();
        let condition = if args.is_empty() { "1 = 1" } else { "status = $1" };
        let sql = format!(
            "SELECT log_partition, log_offset, stage, reason, detail, field, status, source_topic, source_partition, \
             source_offset, received_at, attempt FROM dead_letters WHERE {condition} \
             ORDER BY received_at DESC, log_partition, log_offset DESC LIMIT {limit} OFFSET {offset}"
        );
        let rows = self.query("reading dead_letters", &sql, &args).await?;
        rows.iter().map(letter).collect()
    }

    /// How many remediations wait for a person (at most 10,000 are counted), and since when the oldest.
    pub async fn waiting(&self) -> Result<(usize, Option<DateTime<Utc>>), StoreError> {
        let sql = "SELECT created_at FROM remediations WHERE status = $1 ORDER BY created_at LIMIT 10000";
        let rows = self.query("counting approvals", sql, &[Value::text("waiting")]).await?;
        let oldest = rows.first().map(|row| row.time("created_at")).transpose()?;
        Ok((rows.len(), oldest))
    }

    /// Where everybody stands that keeps a position here, by sink or worker.
    pub async fn positions(&self) -> Result<Vec<(String, TopicPartition, Offset)>, StoreError> {
        let sql = "SELECT sink, topic, partition, next FROM sink_positions ORDER BY sink, topic, partition";
        let rows = self.query("reading positions", sql, &[]).await?;
        let number = |row: &Row, name: &str| row.int(name).map(|n| u64::try_from(n).unwrap_or_default());
        rows.iter()
            .map(|row| {
                let partition = u32::try_from(number(row, "partition")?).unwrap_or_default();
                Ok((
                    row.text("sink")?,
                    TopicPartition::new(row.text("topic")?, partition),
                    Offset(number(row, "next")?),
                ))
            })
            .collect()
    }

    /// Where worker `name` stands in `partition` of `log`.
    pub async fn worker_position(
        &self,
        name: &str,
        log: &LogId,
        partition: &TopicPartition,
    ) -> Result<Option<Offset>, SinkError> {
        positions::read(self, name, log, partition).await
    }

    /// Moves worker `name` past `batches`, all or none. `unwritten`: where nothing stood when it asked.
    pub async fn move_worker(
        &self,
        name: &str,
        log: &LogId,
        batches: &[SinkBatch],
        unwritten: &BTreeSet<TopicPartition>,
    ) -> Result<(), SinkError> {
        let mut ordered: Vec<&SinkBatch> = batches.iter().collect();
        ordered.sort_by(|a, b| a.partition.cmp(&b.partition));
        let mut tx = self.begin().await.map_err(|e| e.of(name))?;
        for batch in ordered {
            let seen = Seen {
                newly_owned: false,
                nothing: unwritten.contains(&batch.partition),
            };
            positions::advance(&mut tx, name, log, batch, seen).await?;
        }
        tx.commit().await.map_err(|e| e.of(name))
    }
}

fn execution(row: &Row) -> Result<ExecutionRow, StoreError> {
    Ok(ExecutionRow {
        id: row.uuid("id")?,
        incident_id: row.uuid("incident_id")?,
        agent_name: row.text("agent_name")?,
        run_id: row.uuid("run_id")?,
        attempt: row.int("attempt")?,
        status: row.text("status")?,
        error: row.opt_text("error")?,
        tokens_used: row.opt_int("tokens_used")?,
        duration_ms: row.opt_int("duration_ms")?,
        created_at: row.time("created_at")?,
        finished_at: row.opt_time("finished_at")?,
        input: row.json("input_data")?,
        output: row.json("output_data")?,
        tool_calls: row.json("tool_calls")?,
    })
}

fn remediation(row: &Row) -> Result<RemediationRow, StoreError> {
    Ok(RemediationRow {
        id: row.uuid("id")?,
        incident_id: row.uuid("incident_id")?,
        action_type: row.text("action_type")?,
        target: row.text("target")?,
        namespace: row.opt_text("namespace")?,
        cluster: row.text("cluster")?,
        status: row.text("status")?,
        plan_hash: row.text("plan_hash")?,
        reason: row.text("reason")?,
        proposed_by: row.text("proposed_by")?,
        decided_by: row.opt_text("decided_by")?,
        note: row.opt_text("note")?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
        updated_at: row.time("updated_at")?,
        before_state: row.json("before_state")?,
        after_state: row.json("after_state")?,
        proposal: row.json("proposal")?,
    })
}

fn letter(row: &Row) -> Result<LetterRow, StoreError> {
    Ok(LetterRow {
        log_partition: row.int("log_partition")?,
        log_offset: row.int("log_offset")?,
        stage: row.text("stage")?,
        reason: row.text("reason")?,
        detail: row.text("detail")?,
        field: row.opt_text("field")?,
        status: row.text("status")?,
        source_topic: row.text("source_topic")?,
        source_partition: row.int("source_partition")?,
        source_offset: row.int("source_offset")?,
        received_at: row.time("received_at")?,
        attempt: row.int("attempt")?,
    })
}
