//! Compliance at work: each fact on the log is held against the policies, and what they say is a record on `compliance`.

use std::sync::Arc;

use ::agents::compliance::{self, Fact, Policies};
use async_trait::async_trait;
use bytes::Bytes;
use model::investigation::StepEvent;
use model::remediation::{RemediationEvent, RemediationFact};
use model::signing::{self, Message, Signer, Verdict};
use model::{ComplianceRecord, IncidentEvent, topics};
use operators::signed::require_step;
use sinks::worker::{Answer, NotTaken, Say, Work};
use stream::log::{NewRecord, Topic};
use stream::{Clock, Record, TopicPartition};

/// Judges. What a record says depends on the fact and the policies alone, so a fact that is judged twice leads to the same records.
pub struct ComplianceWork {
    policies: Policies,
    clock: Arc<dyn Clock>,
    signer: Signer,
}

impl ComplianceWork {
    pub fn new(policies: Policies, clock: Arc<dyn Clock>, signer: Signer) -> Self {
        ComplianceWork {
            policies,
            clock,
            signer,
        }
    }

    fn facts(&self, topic: &str, record: &Record) -> Result<Vec<Fact>, NotTaken> {
        let value = &record.value;
        let typed = record.header(topics::header::TYPE);
        Ok(match topic {
            topics::DEPLOYMENTS | topics::COMPLIANCE if typed.is_none() => {
                let read = compliance::of_projection(topic, value).map_err(NotTaken::undecodable)?;
                read.into_iter().collect()
            }
            topics::INCIDENTS if typed.is_none() => {
                // Of a storm's facts few are about an answer.
                if !["acknowledged", "resolved", "closed"]
                    .iter()
                    .any(|word| says(value, word))
                {
                    return Ok(Vec::new());
                }
                let event: IncidentEvent = serde_json::from_slice(value).map_err(NotTaken::undecodable)?;
                compliance::of_incident(&event, value).into_iter().collect()
            }
            topics::INCIDENTS if says(value, "finished") => {
                let event: StepEvent = serde_json::from_slice(value).map_err(NotTaken::undecodable)?;
                let StepEvent::Finished(result) = event else {
                    return Ok(Vec::new());
                };
                require_step(&self.signer, record).map_err(|why| NotTaken::Refused {
                    reason: "forged",
                    detail: format!("a step: {why}"),
                })?;
                let domain = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
                compliance::of_finding(&result, &domain, value)
            }
            topics::REMEDIATIONS => {
                let event: RemediationEvent = serde_json::from_slice(value).map_err(NotTaken::undecodable)?;
                let ours = matches!(
                    event.fact,
                    RemediationFact::Granted { .. } | RemediationFact::Forged { .. }
                );
                // What is forged the gate says, in a record of its own.
                if !ours || !self.authentic(topic, record) {
                    return Ok(Vec::new());
                }
                compliance::of_remediation(&event, value).into_iter().collect()
            }
            _ => Vec::new(),
        })
    }

    fn authentic(&self, topic: &str, record: &Record) -> bool {
        authentic(&self.signer, topic, record)
    }

    fn answer(&self, record: &ComplianceRecord) -> Answer {
        // A struct of texts, numbers and maps of such always encodes.
        let (key, value) = (record.key(), serde_json::to_vec(record).unwrap_or_default());
        let message = Message {
            topic: topics::COMPLIANCE,
            key: key.as_bytes(),
            value: &value,
        };
        let mut headers = vec![(
            topics::header::TYPE.to_owned(),
            Bytes::from_static(topics::header::COMPLIANCE.as_bytes()),
        )];
        headers.extend(self.signer.sign(message, ""));
        Answer {
            topic: topics::COMPLIANCE,
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

/// Whether somebody of this installation wrote it; where there is no key, nobody can tell.
pub fn authentic(signer: &Signer, topic: &str, record: &Record) -> bool {
    let message = Message {
        topic,
        key: record.key.as_deref().unwrap_or_default(),
        value: &record.value,
    };
    let header = record.header(signing::HEADER).map(|header| &**header);
    matches!(
        signer.check(message, header),
        Verdict::Authentic { .. } | Verdict::Unchecked
    )
}

/// The JSON text holds this word in quotes.
fn says(value: &[u8], word: &str) -> bool {
    let mut quoted = Vec::with_capacity(word.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(word.as_bytes());
    quoted.push(b'"');
    memchr::memmem::find(value, &quoted).is_some()
}

#[async_trait]
impl Work for ComplianceWork {
    type Task = Vec<Answer>;

    fn name(&self) -> &'static str {
        "compliance"
    }

    fn topics(&self) -> Vec<Topic> {
        vec![
            topics::DEPLOYMENTS.into(),
            topics::COMPLIANCE.into(),
            topics::INCIDENTS.into(),
            topics::REMEDIATIONS.into(),
        ]
    }

    async fn take(&self, from: &TopicPartition, record: &Record) -> Result<Option<Self::Task>, NotTaken> {
        let facts = self.facts(&from.topic, record)?;
        let records = facts.iter().flat_map(|fact| compliance::judge(&self.policies, fact));
        let answers: Vec<Answer> = records.map(|record| self.answer(&record)).collect();
        Ok((!answers.is_empty()).then_some(answers))
    }

    async fn work(&self, answers: Self::Task, _: &Say) -> Vec<Answer> {
        answers
    }
}
