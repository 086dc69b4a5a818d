//! Runs and remediations that are not there, and orders that are written down.

#![allow(dead_code)] // Each test crate uses its own part.

use std::sync::Mutex;

use async_trait::async_trait;
use gateway::{
    ComplianceReads, ControlView, IncidentDetail, IncidentFilter, IncidentReads, IncidentView, LetterPlace, LetterView,
    Letters, OrderError, Orders, Page, PipelineReads, PipelineView, Proposed, Queries, QueryError, ReadError,
    RemediationView, ResponseFilter, ResponseReads, Rows, SilenceBody, SilenceFilter, SilenceView, Silences, StepView,
    Suggestion,
};
use model::investigation::RunVerb;
use model::{ComplianceRecord, IncidentId};
use uuid::Uuid;

pub struct Nothing;

#[async_trait]
impl IncidentReads for Nothing {
    async fn incidents(&self, _: &IncidentFilter, _: Page) -> Result<Vec<IncidentView>, ReadError> {
        Ok(Vec::new())
    }

    async fn incident(&self, _: IncidentId) -> Result<Option<IncidentDetail>, ReadError> {
        Ok(None)
    }
}

#[async_trait]
impl ResponseReads for Nothing {
    async fn steps(&self, _: &ResponseFilter, _: Page) -> Result<Vec<StepView>, ReadError> {
        Ok(Vec::new())
    }

    async fn step(&self, _: Uuid) -> Result<Option<StepView>, ReadError> {
        Ok(None)
    }

    async fn remediations(&self, _: &ResponseFilter, _: Page) -> Result<Vec<RemediationView>, ReadError> {
        Ok(Vec::new())
    }

    async fn remediation(&self, _: Uuid) -> Result<Option<RemediationView>, ReadError> {
        Ok(None)
    }

    async fn letters(&self, _: Option<&str>, _: Page) -> Result<Vec<LetterView>, ReadError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Silences for Nothing {
    async fn list(&self, _: SilenceFilter) -> Result<Option<Vec<SilenceView>>, ReadError> {
        Ok(Some(Vec::new()))
    }

    async fn declare(&self, _: SilenceBody, _: &str) -> Result<SilenceView, OrderError> {
        Err(OrderError::Conflict("there are enough".to_owned()))
    }

    async fn end(&self, id: Uuid, _: &str) -> Result<SilenceView, OrderError> {
        Err(OrderError::NotFound(format!("silence {id}")))
    }
}

#[async_trait]
impl ComplianceReads for Nothing {
    async fn controls(&self) -> Result<Vec<ControlView>, ReadError> {
        Ok(Vec::new())
    }

    async fn records(&self, _: &str) -> Result<Option<Vec<ComplianceRecord>>, ReadError> {
        Ok(None)
    }

    async fn evidence(&self, control: &str) -> Result<Option<Vec<u8>>, ReadError> {
        Ok((control == "SOC2:CC8.1").then(|| b"{}\n".to_vec()))
    }
}

/// A pipeline that has not read its orders yet.
#[async_trait]
impl PipelineReads for Nothing {
    async fn pipeline(&self) -> PipelineView {
        PipelineView::default()
    }

    async fn stopped(&self) -> Option<bool> {
        None
    }
}

/// Answers a question about `n`, refuses one about `x`, and is away for others.
#[async_trait]
impl Queries for Nothing {
    async fn query(&self, sql: &str) -> Result<Rows, QueryError> {
        match sql {
            "SELECT n" => Ok(Rows {
                columns: vec!["n".to_owned()],
                types: vec!["Int64".to_owned()],
                rows: vec![serde_json::Map::new()],
            }),
            "SELECT x" => Err(QueryError::Refused("there is no column x".to_owned())),
            _ => Err(QueryError::Unavailable("no route to 10.1.2.3".to_owned())),
        }
    }
}

/// What was ordered, in words. Incident 404 is not there, remediation 409 waits for nobody.
#[derive(Default)]
pub struct Notebook(pub Mutex<Vec<String>>);

impl Notebook {
    fn note(&self, order: String) -> Result<(), OrderError> {
        self.0.lock().unwrap().push(order);
        Ok(())
    }
}

#[async_trait]
impl Orders for Notebook {
    async fn acknowledge(&self, incident: IncidentId, by: &str) -> Result<(), OrderError> {
        if incident.0.as_u128() == 404 {
            return Err(OrderError::NotFound(format!("incident {incident}")));
        }
        self.note(format!("{by} acknowledges"))
    }

    async fn resolve(&self, _: IncidentId, by: &str, resolution: &str) -> Result<(), OrderError> {
        self.note(format!("{by} resolves: {resolution}"))
    }

    async fn run(&self, _: IncidentId, verb: RunVerb, by: &str) -> Result<(), OrderError> {
        self.note(format!("{by} says {verb:?}"))
    }

    async fn propose(&self, incident: IncidentId, what: Suggestion, by: &str) -> Result<Proposed, OrderError> {
        if incident.0.as_u128() == 404 {
            return Err(OrderError::NotFound(format!("incident {incident}")));
        }
        if what.action.workload().is_none() {
            let why = "github is not configured".to_owned();
            return Err(OrderError::Invalid { field: "action", why });
        }
        self.note(format!("{by} proposes: {}: {}", what.action, what.reason))?;
        Ok(Proposed {
            id: what.key,
            plan_hash: what.action.plan_hash(),
            dry_run: "-a\n+b\n".into(),
            expires_at: chrono::DateTime::UNIX_EPOCH,
        })
    }

    async fn approve(&self, remediation: Uuid, plan_hash: &str, by: &str) -> Result<(), OrderError> {
        match remediation.as_u128() {
            409 => Err(OrderError::Conflict("it waits for nobody".into())),
            503 => Err(OrderError::Unavailable("s3cret broker address".into())),
            _ => self.note(format!("{by} approves {plan_hash}")),
        }
    }

    async fn deny(&self, _: Uuid, reason: &str, by: &str) -> Result<(), OrderError> {
        self.note(format!("{by} denies: {reason}"))
    }

    async fn stop(&self, on: bool, by: &str) -> Result<(), OrderError> {
        self.note(format!("{by} stops: {on}"))
    }
}

/// One letter, at 0/7; 0/9 was dealt with already.
#[async_trait]
impl Letters for Notebook {
    async fn show(&self, place: LetterPlace) -> Result<Option<serde_json::Value>, OrderError> {
        Ok((place.offset == 7).then(|| serde_json::json!({ "id": "dead-letter/0/7" })))
    }

    async fn replay(&self, place: LetterPlace, by: &str) -> Result<(), OrderError> {
        match place.offset {
            7 => self.note(format!("{by} sends {} again", place.offset)),
            9 => Err(OrderError::Conflict("it is replayed already".into())),
            _ => Err(OrderError::NotFound("letter".into())),
        }
    }

    async fn drop_it(&self, place: LetterPlace, because: &str, by: &str) -> Result<(), OrderError> {
        self.note(format!("{by} drops {}: {because}", place.offset))
    }
}
