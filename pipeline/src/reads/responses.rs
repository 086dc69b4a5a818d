//! Runs, remediations and dead letters for the gateway.

use async_trait::async_trait;
use gateway::{LetterView, Page, ReadError, RemediationView, ResponseFilter, ResponseReads, StepView};
use sinks::sql::{self, ExecutionRow, LetterRow, RemediationRow};
use uuid::Uuid;

use super::{StoreReads, failed};

#[async_trait]
impl ResponseReads for StoreReads {
    async fn steps(&self, filter: &ResponseFilter, page: Page) -> Result<Vec<StepView>, ReadError> {
        let rows = self.store.executions(&of(filter), page.limit, page.offset).await;
        Ok(rows.map_err(failed)?.into_iter().map(step).collect())
    }

    async fn step(&self, id: Uuid) -> Result<Option<StepView>, ReadError> {
        Ok(self.store.execution(id).await.map_err(failed)?.map(step))
    }

    async fn remediations(&self, filter: &ResponseFilter, page: Page) -> Result<Vec<RemediationView>, ReadError> {
        let rows = self.store.remediations(&of(filter), page.limit, page.offset).await;
        Ok(rows.map_err(failed)?.into_iter().map(remediation).collect())
    }

    async fn remediation(&self, id: Uuid) -> Result<Option<RemediationView>, ReadError> {
        Ok(self.store.remediation(id).await.map_err(failed)?.map(remediation))
    }

    async fn letters(&self, status: Option<&str>, page: Page) -> Result<Vec<LetterView>, ReadError> {
        let rows = self.store.letters(status, page.limit, page.offset).await;
        Ok(rows.map_err(failed)?.into_iter().map(letter).collect())
    }
}

fn of(filter: &ResponseFilter) -> sql::ResponseFilter {
    sql::ResponseFilter {
        incident: filter.incident,
        status: filter.status.clone(),
    }
}

fn step(row: ExecutionRow) -> StepView {
    StepView {
        id: row.id,
        incident_id: row.incident_id,
        agent: row.agent_name,
        run: row.run_id,
        attempt: row.attempt as u32,
        status: row.status,
        error: row.error,
        tokens_used: row.tokens_used.map(|n| n as u64),
        duration_ms: row.duration_ms.map(|n| n as u64),
        created_at: row.created_at,
        finished_at: row.finished_at,
        input: row.input,
        output: row.output,
        tool_calls: row.tool_calls,
    }
}

fn remediation(row: RemediationRow) -> RemediationView {
    RemediationView {
        id: row.id,
        incident_id: row.incident_id,
        action: row.action_type,
        target: row.target,
        namespace: row.namespace,
        cluster: row.cluster,
        status: row.status,
        plan_hash: row.plan_hash,
        reason: row.reason,
        proposed_by: row.proposed_by,
        decided_by: row.decided_by,
        note: row.note,
        created_at: row.created_at,
        expires_at: row.expires_at,
        updated_at: row.updated_at,
        before: row.before_state,
        after: row.after_state,
        proposal: row.proposal,
    }
}

fn letter(row: LetterRow) -> LetterView {
    LetterView {
        id: format!("dead-letter/{}/{}", row.log_partition, row.log_offset),
        stage: row.stage,
        reason: row.reason,
        detail: row.detail,
        field: row.field,
        status: row.status,
        source_topic: row.source_topic,
        source_partition: row.source_partition as u32,
        source_offset: row.source_offset as u64,
        received_at: row.received_at,
        attempt: row.attempt as u32,
    }
}
