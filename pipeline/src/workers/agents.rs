//! The agents at work: a step that is asked for on `incidents` is carried out and answered there.

use std::sync::Arc;

use ::agents::AgentSettings;
use async_trait::async_trait;
use bytes::Bytes;
use model::investigation::StepEvent;
use model::topics;
use sinks::worker::{Answer, Say, Work};
use stream::log::{NewRecord, Topic};
use stream::{Clock, Record};
use tools::observe::Observe;

/// Carries steps out. A step asked for twice is carried out twice; the crew takes the first answer.
pub struct AgentsWork {
    settings: AgentSettings,
    tools: Observe,
    clock: Arc<dyn Clock>,
}

impl AgentsWork {
    pub fn new(settings: AgentSettings, tools: Observe, clock: Arc<dyn Clock>) -> Self {
        AgentsWork { settings, tools, clock }
    }
}

#[async_trait]
impl Work for AgentsWork {
    fn name(&self) -> &'static str {
        "agents"
    }

    fn topics(&self) -> Vec<Topic> {
        vec![topics::INCIDENTS.into()]
    }

    async fn work(&self, record: &Record, _: &Say) -> Result<Vec<Answer>, String> {
        if record.header(topics::header::TYPE).is_none() {
            return Ok(Vec::new());
        }
        let event: StepEvent = serde_json::from_slice(&record.value).map_err(|error| error.to_string())?;
        let StepEvent::Requested(request) = event else {
            return Ok(Vec::new());
        };
        let now = self.clock.now();
        let mut result = ::agents::run(&request, &self.tools, &self.settings, now.to_datetime()).await;
        result.at = self.clock.now().to_datetime();
        metrics::histogram!("aegis_agent_step_seconds", "agent" => request.agent.as_str(), "status" => result.status.as_str())
            .record(result.duration_ms as f64 / 1_000.0);
        let incident = &request.evidence.incident;
        let headers = vec![(
            topics::header::TYPE.to_owned(),
            Bytes::from_static(topics::header::STEP.as_bytes()),
        )];
        Ok(vec![Answer {
            topic: topics::INCIDENTS,
            key: format!("{}/{}", incident.tenant, incident.environment),
            record: NewRecord {
                // A struct of strings, numbers and lists of such always encodes.
                value: serde_json::to_vec(&StepEvent::Finished(Box::new(result)))
                    .unwrap_or_default()
                    .into(),
                headers,
                timestamp: self.clock.now(),
                ..NewRecord::default()
            },
        }])
    }
}
