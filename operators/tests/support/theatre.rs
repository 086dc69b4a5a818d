//! Crew and gate, one behind the other, with the outside played by the test: killed and restored after every step.

#![allow(dead_code, unused_imports)] // Each test file uses a part of it.

#[path = "rig.rs"]
pub mod rig;

pub use std::collections::VecDeque;

pub use chrono::{DateTime, TimeDelta, Utc};
pub use model::action::{Workload, WorkloadKind};
pub use model::approval::{Approver, Budget, Effect, Grant, Policy, Rule};
pub use model::command::{IncidentCommand, Order};
pub use model::evidence::{Citation, Finding, FindingKind, Postmortem, Statement};
pub use model::investigation::{
    Agent, RunOrder, RunVerb, StepEvent, StepOutput, StepRequest, StepResult, StepStatus, Triage, TriageAction,
};
pub use model::ledger::{Chain, LedgerEntry};
pub use model::proposal::{BlastRadius, Proposal, TargetState};
pub use model::remediation::{Health, RemediationEvent, RemediationFact, RemediationStatus};
pub use model::signing::{Message, Signer};
pub use model::{
    Action, ActionKind, CanonicalKey, EpisodeId, Fact, Incident, IncidentEvent, IncidentId, Member, Notification,
    Severity, SignalId, Status, Suspect, topics,
};
pub use operators::crew::{Crew, CrewSettings};
pub use operators::gate::{Gate, GateSettings, Place};
pub use rig::{Rig, record, typed};
pub use stream::log::NewRecord;
pub use uuid::Uuid;

pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_760_000_000 + seconds, 0).unwrap()
}

/// Keys of what is said about the one incident and the one namespace here.
pub const DOMAIN: &str = "default/prod";
pub const NAMESPACE: &str = "default/production";

pub fn signer() -> Signer {
    Signer::new([&b"a key that everybody here has in common"[..]]).unwrap()
}

pub fn place() -> Place {
    Place {
        chain: "remediations-0".into(),
        partitions: 1,
    }
}

/// A record as it stands on the log.
pub fn stands(said: NewRecord, key: &str) -> stream::Record {
    stream::Record {
        key: Some(key.to_owned().into()),
        headers: said.headers,
        ..record(said.value.to_vec())
    }
}

pub fn signed(topic: &str, key: &str, mut unsigned: stream::Record) -> stream::Record {
    let message = Message {
        topic,
        key: key.as_bytes(),
        value: &unsigned.value,
    };
    unsigned.headers.extend(signer().sign(message, ""));
    unsigned.key = Some(key.to_owned().into());
    unsigned
}

pub fn signed_step(event: &StepEvent) -> stream::Record {
    signed(topics::INCIDENTS, DOMAIN, typed(topics::header::STEP, event))
}

pub fn signed_fact(event: &RemediationEvent) -> stream::Record {
    signed(
        topics::REMEDIATIONS,
        NAMESPACE,
        record(serde_json::to_vec(event).unwrap()),
    )
}

/// Both operators and everything that they said.
pub struct Theatre {
    pub crew: Rig<Crew>,
    pub gate: Rig<Gate>,
    pub now: i64,
    pub asked: Vec<StepRequest>,
    pub commands: Vec<IncidentCommand>,
    pub facts: Vec<RemediationEvent>,
    pub messages: Vec<Notification>,
    pub ledger: Vec<LedgerEntry>,
}

impl Theatre {
    pub fn new(rules: Vec<Rule>) -> Self {
        Theatre::with(rules, CrewSettings::default())
    }

    pub fn with(rules: Vec<Rule>, crew: CrewSettings) -> Self {
        let policy = Policy::new(rules).unwrap();
        Theatre {
            crew: Rig::new(move || Crew::new(&crew, signer())).mortal(),
            gate: Rig::new(move || Gate::new(&GateSettings::default(), policy.clone(), signer(), place())).mortal(),
            now: 0,
            asked: Vec::new(),
            commands: Vec::new(),
            facts: Vec::new(),
            messages: Vec::new(),
            ledger: Vec::new(),
        }
    }

    pub fn incident(&mut self, name: &str, severity: Severity) -> IncidentId {
        let event = opened(name, severity, self.now);
        self.tell(&event);
        event.incident.id
    }

    pub fn tell(&mut self, event: &IncidentEvent) {
        let out = self.crew.feed_record(&record(serde_json::to_vec(event).unwrap()));
        self.settle(out);
    }

    pub fn step(&mut self, event: &StepEvent) {
        let out = self.crew.feed_record(&signed_step(event));
        self.settle(out);
    }

    /// The last request for `agent` is answered.
    pub fn answer(&mut self, agent: Agent, output: StepOutput) {
        self.answer_as(agent, StepStatus::Success, output);
    }

    pub fn answer_as(&mut self, agent: Agent, status: StepStatus, output: StepOutput) {
        let request = self.asked.iter().rev().find(|asked| asked.agent == agent).cloned();
        let request = request.unwrap_or_else(|| panic!("{agent:?} was not asked"));
        let result = StepResult {
            schema: StepResult::SCHEMA,
            id: request.id,
            run: request.run,
            incident_id: request.evidence.incident.id,
            agent,
            status,
            error: String::new(),
            output,
            tool_calls: Vec::new(),
            tokens_used: 0,
            duration_ms: 1,
            at: at(self.now),
        };
        self.step(&StepEvent::Finished(Box::new(result)));
    }

    /// A record on `remediations` from outside.
    pub fn say(&mut self, id: Uuid, fact: RemediationFact) {
        let event = RemediationEvent::new(id, IncidentId::default(), at(self.now), fact);
        self.hear(&event);
    }

    pub fn hear(&mut self, event: &RemediationEvent) {
        let out = self.gate.feed_record(&signed_fact(event));
        assert!(out.is_empty());
        self.settle(Vec::new());
    }

    /// Time goes on for both.
    pub fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        let watermark = at(self.now).timestamp();
        let out = self.crew.watermark(watermark);
        self.settle(out);
        self.gate.watermark(watermark);
        self.settle(Vec::new());
    }

    /// Carries what one said to the other until both are silent.
    pub fn settle(&mut self, proposals: Vec<NewRecord>) {
        assert_eq!(proposals, [], "everything of the crew goes to other topics");
        // Records as they were said: each must be believed as it is.
        let mut remediations: VecDeque<NewRecord> = VecDeque::new();
        loop {
            let mut side = std::mem::take(&mut self.crew.side);
            side.append(&mut self.gate.side);
            for (topic, said) in side {
                match &*topic {
                    topics::TRANSITIONS => self.commands.push(serde_json::from_slice(&said.value).unwrap()),
                    topics::NOTIFICATIONS => self.messages.push(serde_json::from_slice(&said.value).unwrap()),
                    topics::LEDGER => self.ledger.push(serde_json::from_slice(&said.value).unwrap()),
                    topics::REMEDIATIONS => remediations.push_back(said),
                    topics::INCIDENTS => {
                        let step: StepEvent = serde_json::from_slice(&said.value).unwrap();
                        if let StepEvent::Requested(request) = &step {
                            self.asked.push((**request).clone());
                        }
                        let out = self.crew.feed_record(&stands(said, DOMAIN));
                        assert_eq!(out, []);
                    }
                    other => panic!("{other}?"),
                }
            }
            let Some(said) = remediations.pop_front() else { break };
            self.facts.push(serde_json::from_slice(&said.value).unwrap());
            self.gate.feed_record(&stands(said, NAMESPACE));
        }
        if !self.crew.side.is_empty() || !self.gate.side.is_empty() {
            self.settle(Vec::new());
        }
    }

    pub fn agents(&self) -> Vec<&'static str> {
        self.asked.iter().map(|asked| asked.agent.as_str()).collect()
    }

    pub fn fact_names(&self) -> Vec<&'static str> {
        self.facts.iter().map(|event| event.fact.name()).collect()
    }

    pub fn orders(&self) -> Vec<&'static str> {
        let name = |order: &Order| match order {
            Order::Acknowledge => "acknowledge",
            Order::Resolve { .. } => "resolve",
            Order::AddFinding { .. } => "finding",
            Order::AddPostmortem { .. } => "postmortem",
        };
        self.commands.iter().map(|command| name(&command.order)).collect()
    }

    /// From the opening to the proposal.
    pub fn up_to_proposal(&mut self) -> Proposal {
        let incident = self.incident("a", Severity::Critical);
        self.answer(Agent::Triage, investigate());
        self.answer(Agent::LogAnalyst, found(FindingKind::OutOfMemory));
        self.answer(Agent::MetricCorrelator, found(FindingKind::TrafficBeforeSymptom));
        let proposal = proposal(incident, self.now);
        self.answer(Agent::Fixer, proposes(&proposal));
        proposal
    }

    pub fn verify_ledger(&self) {
        let mut chain = Chain::default();
        for entry in &self.ledger {
            entry.verify(&mut chain).unwrap();
        }
    }
}

pub fn opened(name: &str, severity: Severity, seconds: i64) -> IncidentEvent {
    let episode = EpisodeId::of(name, seconds);
    let member = Member {
        episode,
        signal: SignalId::default(),
        dedup_key: name.into(),
        source: "alertmanager".into(),
        title: format!("{name} is down"),
        severity,
        service: Some("api-server".into()),
        namespace: Some("production".into()),
        starts_at: at(seconds),
        ends_at: None,
        rule: "opened@1".into(),
        key: None,
        linked_to: None,
        apart_ms: None,
    };
    IncidentEvent {
        schema: IncidentEvent::SCHEMA,
        incident: Incident {
            id: IncidentId::opened_by("default/prod", episode, 0),
            canonical_key: CanonicalKey::of("default/prod", episode),
            revision: 1,
            tenant: "default".into(),
            environment: "prod".into(),
            alert_id: name.into(),
            source: "alertmanager".into(),
            severity,
            status: Status::Open,
            title: member.title.clone(),
            service: member.service.clone(),
            created_at: at(seconds),
            resolved_at: None,
            resolved_by: None,
            merged_into: None,
            members: 1,
            firing: 1,
            root_cause: None,
            resolution: None,
        },
        fact: Fact::Opened { member },
        at: at(seconds),
        observed_at: at(seconds + 1),
        origin: None,
    }
}

/// The same incident, with a change of its service before it.
pub fn suspected(name: &str, seconds: i64) -> IncidentEvent {
    let mut event = opened(name, Severity::Critical, seconds);
    event.incident.revision += 1;
    event.fact = Fact::SuspectFound {
        suspect: Suspect {
            signal: SignalId::default(),
            source: "github".into(),
            title: "Deployment of main (0123456) to prod: success".into(),
            service: "api-server".into(),
            at: at(seconds - 60),
            before_ms: 60_000,
        },
    };
    event
}

/// The same incident, over.
pub fn resolved(event: &IncidentEvent, seconds: i64) -> IncidentEvent {
    let mut over = event.clone();
    over.fact = Fact::Resolved;
    over.at = at(seconds);
    over.observed_at = at(seconds);
    over.incident.status = Status::Resolved;
    over.incident.revision += 1;
    over
}

pub fn investigate() -> StepOutput {
    triaged(TriageAction::Investigate)
}

pub fn triaged(action: TriageAction) -> StepOutput {
    StepOutput {
        triage: Some(Triage {
            severity: Severity::Critical,
            action,
            why: "95 % of its memory".into(),
        }),
        ..StepOutput::default()
    }
}

pub fn found(kind: FindingKind) -> StepOutput {
    let finding = Finding {
        kind,
        summary: "seen".into(),
        facts: serde_json::Map::new(),
        citations: vec![Citation::new("prometheus", "up", (at(0), at(1)), "1")],
    };
    StepOutput {
        findings: vec![finding],
        ..StepOutput::default()
    }
}

pub fn proposal(incident_id: IncidentId, seconds: i64) -> Proposal {
    let action = Action::Restart {
        target: Workload {
            cluster: "default".into(),
            namespace: "production".into(),
            kind: WorkloadKind::Deployment,
            name: "api-server".into(),
        },
    };
    Proposal {
        id: Proposal::id_of(incident_id, Uuid::nil(), &action.plan_hash()),
        incident_id,
        tenant: "default".into(),
        environment: "prod".into(),
        plan_hash: action.plan_hash(),
        inverse: None,
        action,
        reason: "memory is exhausted".into(),
        citations: Vec::new(),
        dry_run: String::new(),
        blast_radius: BlastRadius { workloads: 1, pods: 3 },
        target: state(),
        proposed_by: "agent:fixer".into(),
        proposed_at: at(seconds),
        expires_at: at(seconds) + TimeDelta::minutes(15),
    }
}

pub fn state() -> TargetState {
    TargetState {
        uid: "uid-1".into(),
        generation: 4,
        spec_hash: "abc".into(),
        resource_version: "77".into(),
        replicas: 3,
        ready: 3,
        detail: serde_json::Value::Null,
    }
}

pub fn proposes(proposal: &Proposal) -> StepOutput {
    StepOutput {
        proposal: Some(proposal.clone()),
        ..StepOutput::default()
    }
}

pub fn reported() -> StepOutput {
    let statement = |text: &str| Statement {
        text: text.into(),
        citations: vec!["prometheus-1".into()],
    };
    StepOutput {
        postmortem: Some(Postmortem {
            root_cause: statement("memory leak"),
            impact: statement("95 % of its memory"),
            timeline: Vec::new(),
            resolution: statement("restarted"),
            follow_ups: Vec::new(),
            citations: Vec::new(),
        }),
        ..StepOutput::default()
    }
}

pub fn allow() -> Rule {
    Rule {
        name: "restarts".into(),
        effect: Effect::Allow,
        actions: vec![ActionKind::Restart],
        namespaces: vec!["production".into()],
        workloads: Vec::new(),
        environments: Vec::new(),
        budget: Some(Budget {
            executions: 1,
            per_seconds: 3_600,
            pods: 5,
        }),
        must_match: Vec::new(),
        must_not_match: Vec::new(),
    }
}

pub fn executed() -> RemediationFact {
    RemediationFact::Executed {
        before: state(),
        note: "patched".into(),
    }
}

pub fn checked(number: u32, health: Health) -> RemediationFact {
    RemediationFact::Checked {
        number,
        health,
        observed: Some(state()),
        note: "3 of 3 pods ready".into(),
    }
}
