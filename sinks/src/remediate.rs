//! The executor: carries out what was granted, once, and looks whether it helped. The only holder of acting tools.
//!
//! ```text
//!  granted ─► did it happen already? ─ yes ─► executed
//!                 └ no ─► read the target ─► approve(grant, target, now) ─ no ─► failed
//!                                               └ yes ─► attempted (durable) ─► call ─► executed | failed
//!                                                                                └ perhaps ─► look ─► …
//! ```
//!
//! It guarantees: only what the gate signed is acted on (`authority`), and nothing is called that [`approve`] does not let through on the
//! state read just before; the attempt is on the log before the call; the attempt's id is written onto the target (or into the text that
//! is written), so after a crash or a lost answer it is looked for and never blindly repeated.
//!
//! What anybody else wrote is a dead letter of `sink.remediate` and counted (`aegis_forged_facts_total`).
//!
//! What it does not do: decide. A check answers what it sees; the gate decides what follows.

mod authority;
mod judge;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use model::approval::{Grant, NotApproved, approve, approve_rollback};
use model::proposal::{Proposal, TargetState};
use model::remediation::{Health, RemediationEvent, RemediationFact, Switch};
use model::signing::{Message, Signer};
use model::trace::{remediation, trace_of};
use model::{Workload, topics};
use stream::log::{NewRecord, Topic};
use stream::trace::{self, TraceContext};
use stream::{Clock, Log, Record, TopicPartition, failpoint};
use tools::ToolError;
use tools::act::Act;
use tools::observe::{ActiveAlert, Observe};

use crate::worker::{Answer, NotTaken, Say, Work};
use authority::Authority;
use judge::{beside_alerts, judge};

/// Tries of one call, and looks for one attempt. More: a neighbour that is away holds the others of its batch longer.
const TRIES: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The worker.
pub struct Remediate {
    act: Arc<Act>,
    observe: Observe,
    clock: Arc<dyn Clock>,
    signer: Signer,
    authority: Authority,
    switch: Mutex<Switch>,
}

/// How it is, how the target stands, and why for people.
type Looked = (Health, Option<TargetState>, String);

/// What the gate asks for.
pub enum Task {
    Execute {
        grant: Grant,
        proposal: Box<Proposal>,
    },
    TakeBack {
        grant: Grant,
        proposal: Box<Proposal>,
    },
    Check {
        number: u32,
        before: TargetState,
        proposal: Box<Proposal>,
    },
}

impl Remediate {
    /// `signer` has the gate's key, `log` is what the facts stand on, `switch` is how the stop switch stood at its end.
    pub fn new(
        act: Arc<Act>,
        observe: Observe,
        clock: Arc<dyn Clock>,
        signer: Signer,
        log: Arc<dyn Log>,
        switch: Switch,
    ) -> Self {
        Remediate {
            act,
            observe,
            clock,
            authority: Authority::new(signer.clone(), log),
            signer,
            switch: Mutex::new(switch),
        }
    }

    fn switch(&self) -> std::sync::MutexGuard<'_, Switch> {
        // It is written whole.
        self.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.switch().on()
    }

    /// Only the gate's own word is acted on.
    async fn require(&self, from: &TopicPartition, record: &Record, event: &RemediationEvent) -> Result<(), NotTaken> {
        let required = self.authority.require(from, record).await;
        if let Err(NotTaken::Refused { detail, .. }) = &required {
            let (kind, offset) = (event.fact.name(), record.offset.0);
            metrics::counter!("aegis_forged_facts_total", "kind" => kind).increment(1);
            tracing::error!(%from, offset, kind, remediation = %event.id, detail, "a forged fact: nothing is done");
        }
        required
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now().to_datetime()
    }

    async fn execute(&self, proposal: &Proposal, grant: &Grant, say: &Say) -> Result<RemediationFact, String> {
        let failed = |cause: String| RemediationFact::Failed { cause };
        let mut cause = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            match self
                .act
                .happened(&proposal.action, proposal.id, proposal.proposed_at)
                .await
            {
                Ok(true) => {
                    return Ok(RemediationFact::Executed {
                        before: proposal.target.clone(),
                        note: format!("{}: found done", proposal.action),
                    });
                }
                Ok(false) => {}
                Err(error @ (ToolError::Absent { .. } | ToolError::Refused { .. })) => {
                    return Ok(failed(error.to_string()));
                }
                Err(error) => {
                    cause = format!("nobody could look whether it was done already: {error}");
                    continue;
                }
            }
            let before = match self.observe.state(&proposal.action).await {
                Ok(state) => state,
                Err(error @ (ToolError::Absent { .. } | ToolError::Refused { .. })) => {
                    return Ok(failed(error.to_string()));
                }
                Err(error) => {
                    cause = format!("the target cannot be read: {error}");
                    continue;
                }
            };
            let approved = match approve(proposal, grant, &before, self.stopped(), self.now()) {
                Ok(approved) => approved,
                Err(refused) => return Ok(failed(refused.to_string())),
            };
            let attempted = RemediationFact::Attempted { before: before.clone() };
            say.append(&[self.answer(proposal, attempted)]).await?;
            failpoint::hit("deed.before");
            let about = proposal.incident_id;
            let span = remediation(proposal.id, "attempted", 0);
            let context = TraceContext::about(about.0, trace_of(about), span);
            let called = trace::within(context, self.act.execute(approved)).await;
            failpoint::hit("deed.after");
            match called {
                Ok(done) => {
                    return Ok(RemediationFact::Executed {
                        before,
                        note: done.note,
                    });
                }
                Err(error @ (ToolError::Absent { .. } | ToolError::Refused { .. })) => {
                    return Ok(failed(error.to_string()));
                }
                // The next round looks first; a target that moved meanwhile is read and held against the grant again.
                Err(error) => cause = error.to_string(),
            }
        }
        // The last answer may be one that was lost.
        let looked = self
            .act
            .happened(&proposal.action, proposal.id, proposal.proposed_at)
            .await;
        Ok(match looked {
            Ok(true) => RemediationFact::Executed {
                before: proposal.target.clone(),
                note: format!("{}: found done", proposal.action),
            },
            _ => failed(cause),
        })
    }

    async fn take_back(&self, proposal: &Proposal, grant: &Grant) -> RemediationFact {
        match self.try_take_back(proposal, grant).await {
            Ok(note) => RemediationFact::RolledBack { note },
            Err(cause) => RemediationFact::Failed {
                cause: format!("it made things worse and could not be taken back: {cause}"),
            },
        }
    }

    async fn try_take_back(&self, proposal: &Proposal, grant: &Grant) -> Result<String, String> {
        let inverse = proposal.inverse.as_ref().ok_or("the plan has no inverse")?;
        let mut cause = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(PAUSE * attempt).await;
            }
            match self.act.happened(inverse, proposal.id, proposal.proposed_at).await {
                Ok(true) => return Ok(format!("{inverse}: found done")),
                Ok(false) => {}
                Err(error) => {
                    cause = error.to_string();
                    continue;
                }
            }
            let state = self.observe.state(inverse).await.map_err(|error| error.to_string())?;
            let approved = approve_rollback(proposal, grant, &state, self.stopped());
            let approved = approved.map_err(|refused: NotApproved| refused.to_string())?;
            match self.act.execute(approved).await {
                Ok(done) => return Ok(done.note),
                Err(error @ (ToolError::Absent { .. } | ToolError::Refused { .. })) => return Err(error.to_string()),
                Err(error) => cause = error.to_string(),
            }
        }
        Err(cause)
    }

    async fn check(&self, number: u32, before: &TargetState, proposal: &Proposal) -> RemediationFact {
        let checked = |health, observed, note: String| RemediationFact::Checked {
            number,
            health,
            observed,
            note,
        };
        let looked = match proposal.action.workload() {
            Some(workload) => self.look_at_pods(workload, before, proposal).await,
            None => self.look_outside(proposal).await,
        };
        match looked {
            Ok((health, state, note)) => checked(health, state, note),
            Err(error) => checked(Health::NotYet, None, format!("nobody could look: {error}")),
        }
    }

    async fn look_at_pods(
        &self,
        workload: &Workload,
        before: &TargetState,
        proposal: &Proposal,
    ) -> Result<Looked, ToolError> {
        let state = self.observe.state(&proposal.action).await?;
        let pods = match &self.observe.cluster {
            Some(cluster) => cluster.pods(workload).await?,
            None => Vec::new(),
        };
        let (health, note) = judge(proposal, workload, before, &state, &pods, self.alerts().await);
        Ok((health, Some(state), note))
    }

    async fn look_outside(&self, proposal: &Proposal) -> Result<Looked, ToolError> {
        let plans = self.observe.plans_of(&proposal.action)?;
        let outcome = plans
            .outcome(&proposal.action, proposal.id, proposal.proposed_at)
            .await?;
        let seen = (outcome.health, outcome.note);
        let (health, note) = beside_alerts(&proposal.action, seen, self.alerts().await);
        Ok((health, outcome.state, note))
    }

    /// `None` where there is nobody to ask.
    async fn alerts(&self) -> Option<Result<Vec<ActiveAlert>, String>> {
        let metrics = self.observe.metrics.as_deref()?;
        Some(metrics.alerts().await.map_err(|error| error.to_string()))
    }

    fn answer(&self, proposal: &Proposal, fact: RemediationFact) -> Answer {
        let event = RemediationEvent::new(proposal.id, proposal.incident_id, self.now(), fact);
        // A struct of strings and numbers always encodes.
        let (key, value) = (proposal.key(), serde_json::to_vec(&event).unwrap_or_default());
        let message = Message {
            topic: topics::REMEDIATIONS,
            key: key.as_bytes(),
            value: &value,
        };
        let headers = self.signer.sign(message, "").into_iter().collect();
        Answer {
            topic: topics::REMEDIATIONS,
            key,
            record: NewRecord {
                value: value.into(),
                headers,
                timestamp: self.clock.now(),
                ..NewRecord::default()
            },
        }
    }
}

#[async_trait]
impl Work for Remediate {
    type Task = Task;

    fn name(&self) -> &'static str {
        "remediate"
    }

    fn topics(&self) -> Vec<Topic> {
        vec![topics::REMEDIATIONS.into()]
    }

    async fn take(&self, from: &TopicPartition, record: &Record) -> Result<Option<Task>, NotTaken> {
        let event: RemediationEvent = serde_json::from_slice(&record.value).map_err(NotTaken::undecodable)?;
        let task = match event.fact.clone() {
            RemediationFact::StopSwitch { on, ref by } => {
                let signed = self.authority.signed(record);
                let heard = self.switch().hear(on, event.at, signed);
                tracing::warn!(%from, on, by, signed, heard, "the stop switch");
                return Ok(None);
            }
            RemediationFact::Granted { grant, proposal } => Task::Execute { grant, proposal },
            RemediationFact::RollbackDue { grant, proposal } => Task::TakeBack { grant, proposal },
            RemediationFact::CheckDue {
                number,
                before,
                proposal,
            } => Task::Check {
                number,
                before,
                proposal,
            },
            _ => return Ok(None),
        };
        self.require(from, record, &event).await?;
        Ok(Some(task))
    }

    async fn work(&self, task: Task, say: &Say) -> Vec<Answer> {
        let answer = match task {
            Task::Execute { grant, proposal } => {
                let fact = self.execute(&proposal, &grant, say).await;
                // Without the attempt on the log nothing was called.
                let fact = fact.unwrap_or_else(|cause| RemediationFact::Failed { cause });
                self.answer(&proposal, fact)
            }
            Task::TakeBack { grant, proposal } => {
                let fact = self.take_back(&proposal, &grant).await;
                self.answer(&proposal, fact)
            }
            Task::Check {
                number,
                before,
                proposal,
            } => {
                let fact = self.check(number, &before, &proposal).await;
                self.answer(&proposal, fact)
            }
        };
        vec![answer]
    }
}
