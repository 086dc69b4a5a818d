//! Orders of people, as records on the log: what the gateway and the control socket give, after a look at the store whether it can be.
//! What somebody proposes is tried dry first.

mod door;
mod propose;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use gateway::{OrderError, Orders, Proposed, Suggestion};
use model::command::{IncidentCommand, Order};
use model::investigation::{RunOrder, RunVerb, StepEvent};
use model::remediation::{RemediationEvent, RemediationFact, RemediationStatus};
use model::signing::{Message, Signer};
use model::{IncidentId, Proposal, ids, topics};
use serde::Serialize;
use sinks::sql::{IncidentRow, RemediationRow, Store};
use stream::log::NewRecord;
use stream::partition::partition_for;
use stream::{Clock, Log, TopicPartition};
use tools::observe::Observe;
use uuid::Uuid;

pub use door::{OrderRequest, Taken, give, routes};

/// Appends orders.
#[derive(Clone)]
pub struct LogOrders {
    pub log: Arc<dyn Log>,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    /// What is proposed is tried dry with these.
    pub observe: Observe,
    /// Whoever reads an order believes it for its signature.
    pub signer: Signer,
}

impl LogOrders {
    /// Appends a record to `topic`, to the partition of `key` or to the one that is named.
    async fn append(
        &self,
        topic: &str,
        key: &str,
        only: Option<u32>,
        kind: Option<&'static str>,
        value: &impl Serialize,
    ) -> Result<(), OrderError> {
        let away = |error: &dyn std::fmt::Display| OrderError::Unavailable(error.to_string());
        let partitions = self.log.partitions(topic).await.map_err(|e| away(&e))?;
        let partition = only.unwrap_or_else(|| partition_for(key.as_bytes(), partitions));
        let kind = kind.map(|kind| (topics::header::TYPE.to_owned(), Bytes::from_static(kind.as_bytes())));
        let value = serde_json::to_vec(value).map_err(|e| away(&e))?;
        let message = Message {
            topic,
            key: key.as_bytes(),
            value: &value,
        };
        let signature = self.signer.sign(message, "");
        let record = NewRecord {
            key: Some(Bytes::from(key.to_owned())),
            value: value.into(),
            headers: kind.into_iter().chain(signature).collect(),
            timestamp: self.clock.now(),
        };
        let to = TopicPartition::new(topic, partition);
        self.log.append(&to, vec![record]).await.map_err(|e| away(&e))?;
        Ok(())
    }

    pub(crate) async fn incident(&self, id: IncidentId) -> Result<IncidentRow, OrderError> {
        let found = self.store.incident(id.0).await;
        let found = found.map_err(|e| OrderError::Unavailable(e.to_string()))?;
        found
            .map(|detail| detail.incident)
            .ok_or_else(|| OrderError::NotFound(format!("incident {id}")))
    }

    async fn command(&self, row: &IncidentRow, by: &str, order: Order) -> Result<(), OrderError> {
        let command = IncidentCommand {
            schema: IncidentCommand::SCHEMA,
            id: Uuid::now_v7(),
            incident_id: IncidentId(row.id),
            by: by.to_owned(),
            at: self.clock.now().to_datetime(),
            order,
        };
        let domain = format!("{}/{}", row.tenant, row.environment);
        self.append(
            topics::TRANSITIONS,
            &domain,
            None,
            Some(topics::header::COMMAND),
            &command,
        )
        .await
    }

    /// A remediation that waits for an answer.
    async fn waiting(&self, id: Uuid) -> Result<RemediationRow, OrderError> {
        let found = self.store.remediation(id).await;
        let found = found.map_err(|e| OrderError::Unavailable(e.to_string()))?;
        let row = found.ok_or_else(|| OrderError::NotFound(format!("remediation {id}")))?;
        if row.status != RemediationStatus::Waiting.as_str() {
            return Err(OrderError::Conflict(format!(
                "it waits for nobody: it is {}",
                row.status
            )));
        }
        Ok(row)
    }

    async fn remediation(&self, row: &RemediationRow, fact: RemediationFact) -> Result<(), OrderError> {
        let at = self.clock.now().to_datetime();
        let event = RemediationEvent::new(row.id, IncidentId(row.incident_id), at, fact);
        // The column may hold less than the whole of a long name.
        let proposal: Option<Proposal> = serde_json::from_value(row.proposal.clone()).ok();
        let of_row = || format!("{}/{}", row.cluster, row.namespace.as_deref().unwrap_or_default());
        let key = proposal.map_or_else(of_row, |proposal| proposal.key());
        self.append(topics::REMEDIATIONS, &key, None, None, &event).await
    }
}

#[async_trait]
impl Orders for LogOrders {
    async fn acknowledge(&self, incident: IncidentId, by: &str) -> Result<(), OrderError> {
        let row = self.incident(incident).await?;
        if row.status == "resolved" {
            return Err(OrderError::Conflict("the incident is resolved".to_owned()));
        }
        self.command(&row, by, Order::Acknowledge).await
    }

    async fn resolve(&self, incident: IncidentId, by: &str, resolution: &str) -> Result<(), OrderError> {
        let row = self.incident(incident).await?;
        if row.status == "resolved" {
            return Err(OrderError::Conflict("the incident is resolved already".to_owned()));
        }
        let resolution = resolution.to_owned();
        self.command(&row, by, Order::Resolve { resolution }).await
    }

    async fn run(&self, incident: IncidentId, verb: RunVerb, by: &str) -> Result<(), OrderError> {
        let row = self.incident(incident).await?;
        let order = RunOrder {
            incident_id: incident,
            verb,
            by: by.to_owned(),
            at: self.clock.now().to_datetime(),
        };
        let domain = format!("{}/{}", row.tenant, row.environment);
        let event = StepEvent::Ordered(order);
        self.append(topics::INCIDENTS, &domain, None, Some(topics::header::STEP), &event)
            .await
    }

    async fn propose(&self, incident: IncidentId, what: Suggestion, by: &str) -> Result<Proposed, OrderError> {
        let row = self.incident(incident).await?;
        let proposal = self.write_proposal(&row, what, by).await?;
        Ok(Proposed {
            id: proposal.id,
            plan_hash: proposal.plan_hash,
            dry_run: proposal.dry_run,
            expires_at: proposal.expires_at,
        })
    }

    async fn approve(&self, remediation: Uuid, plan_hash: &str, by: &str) -> Result<(), OrderError> {
        let row = self.waiting(remediation).await?;
        if row.plan_hash != plan_hash {
            return Err(OrderError::Conflict(
                "plan_hash is not that of the plan that waits: look at it again".to_owned(),
            ));
        }
        if row.proposed_by == by {
            return Err(OrderError::Forbidden("who proposed it cannot approve it".to_owned()));
        }
        let fact = RemediationFact::Approve {
            by: by.to_owned(),
            plan_hash: plan_hash.to_owned(),
        };
        self.remediation(&row, fact).await
    }

    async fn deny(&self, remediation: Uuid, reason: &str, by: &str) -> Result<(), OrderError> {
        let row = self.waiting(remediation).await?;
        let fact = RemediationFact::Deny {
            by: by.to_owned(),
            reason: reason.to_owned(),
        };
        self.remediation(&row, fact).await
    }

    async fn stop(&self, on: bool, by: &str) -> Result<(), OrderError> {
        let at = self.clock.now().to_datetime();
        let fact = RemediationFact::StopSwitch { on, by: by.to_owned() };
        let event = RemediationEvent::new(ids::derived("stop-switch"), IncidentId::default(), at, fact);
        let partitions = self.log.partitions(topics::REMEDIATIONS).await;
        let partitions = partitions.map_err(|e| OrderError::Unavailable(e.to_string()))?;
        // Every partition, because each executes on its own.
        for partition in 0..partitions {
            self.append(topics::REMEDIATIONS, "stop-switch", Some(partition), None, &event)
                .await?;
        }
        Ok(())
    }
}
