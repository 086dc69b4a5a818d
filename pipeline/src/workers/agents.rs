//! The agents at work: a step that is asked for on `incidents` is carried out and answered there.

use std::sync::Arc;

use ::agents::AgentSettings;
use async_trait::async_trait;
use bytes::Bytes;
use model::investigation::StepEvent;
use model::signing::{Message, Signer};
use model::trace::{step, trace_of};
use model::{investigation::StepRequest, topics};
use operators::signed::require_step;
use sinks::worker::{Answer, NotTaken, Say, Work};
use stream::log::{NewRecord, Topic};
use stream::trace::{self, TraceContext};
use stream::{Clock, Record, TopicPartition, failpoint};
use tools::observe::Observe;

/// Carries steps out. A step asked for twice is carried out twice; the crew takes the first answer.
pub struct AgentsWork {
    settings: AgentSettings,
    tools: Observe,
    clock: Arc<dyn Clock>,
    signer: Signer,
}

impl AgentsWork {
    /// `signer` has the crew's key.
    pub fn new(settings: AgentSettings, tools: Observe, clock: Arc<dyn Clock>, signer: Signer) -> Self {
        AgentsWork {
            settings,
            tools,
            clock,
            signer,
        }
    }

    /// With a forged request an agent could be made to look at something else under the name of a step that is awaited.
    fn require_signed(&self, record: &Record) -> Result<(), NotTaken> {
        require_step(&self.signer, record).map_err(|why| NotTaken::Refused {
            reason: "forged",
            detail: format!("a step's request: {why}"),
        })
    }
}

#[async_trait]
impl Work for AgentsWork {
    type Task = Box<StepRequest>;

    fn name(&self) -> &'static str {
        "agents"
    }

    fn topics(&self) -> Vec<Topic> {
        vec![topics::INCIDENTS.into()]
    }

    async fn take(&self, _: &TopicPartition, record: &Record) -> Result<Option<Self::Task>, NotTaken> {
        if record.header(topics::header::TYPE).is_none() {
            return Ok(None);
        }
        let event: StepEvent = serde_json::from_slice(&record.value).map_err(NotTaken::undecodable)?;
        let StepEvent::Requested(request) = event else {
            return Ok(None);
        };
        self.require_signed(record)?;
        Ok(Some(request))
    }

    async fn work(&self, request: Self::Task, _: &Say) -> Vec<Answer> {
        failpoint::hit_by("step.before", request.agent.as_str());
        let now = self.clock.now();
        let about = request.evidence.incident.id;
        let context = TraceContext::about(about.0, trace_of(about), step(request.id));
        let result = trace::within(context, async {
            let mut result = ::agents::run(&request, &self.tools, &self.settings, now.to_datetime()).await;
            result.at = self.clock.now().to_datetime();
            tracing::info!(
                agent = request.agent.as_str(),
                status = result.status.as_str(),
                duration_ms = result.duration_ms,
                "step ended"
            );
            result
        })
        .await;
        failpoint::hit_by("step.after", request.agent.as_str());
        metrics::histogram!("aegis_agent_step_seconds", "agent" => request.agent.as_str(), "status" => result.status.as_str())
            .record(result.duration_ms as f64 / 1_000.0);
        let incident = &request.evidence.incident;
        let key = format!("{}/{}", incident.tenant, incident.environment);
        // A struct of strings, numbers and lists of such always encodes.
        let value = serde_json::to_vec(&StepEvent::Finished(Box::new(result))).unwrap_or_default();
        let message = Message {
            topic: topics::INCIDENTS,
            key: key.as_bytes(),
            value: &value,
        };
        let mut headers = vec![(
            topics::header::TYPE.to_owned(),
            Bytes::from_static(topics::header::STEP.as_bytes()),
        )];
        headers.extend(self.signer.sign(message, ""));
        vec![Answer {
            topic: topics::INCIDENTS,
            key,
            record: NewRecord {
                value: value.into(),
                headers,
                timestamp: self.clock.now(),
                ..NewRecord::default()
            },
        }]
    }
}
