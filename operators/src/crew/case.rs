//! A case: what the crew knows about one incident, and where its run stands.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use model::evidence::Finding;
use model::investigation::{Agent, Evidence, Triage, Unknown};
use model::remediation::Standing;
use model::{EpisodeId, Fact, Incident, IncidentEvent, IncidentId, Member, Severity, Status, Suspect, Weakness};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Findings kept per run. An agent makes a handful; more is a defect of it.
const FINDINGS: usize = 64;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub incident: Incident,
    /// The earliest ones.
    pub members: BTreeMap<EpisodeId, Member>,
    pub suspects: Vec<Suspect>,
    pub run: Option<Run>,
    /// Runs begun so far.
    pub runs: u32,
}

/// One investigation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: Uuid,
    pub phase: Phase,
    pub paused: bool,
    pub triage: Option<Triage>,
    pub findings: Vec<Finding>,
    pub unknown: Vec<Unknown>,
    /// Steps that were asked for and not answered.
    pub outstanding: BTreeMap<Uuid, Asked>,
    /// The proposal that waits for its outcome.
    pub proposal: Option<Uuid>,
    pub standing: Option<Standing>,
    pub began_at: DateTime<Utc>,
}

/// A step under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub agent: Agent,
    pub attempt: u32,
    pub at: DateTime<Utc>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Waits for its turn.
    Queued,
    Triage,
    Investigate,
    Fix,
    /// A proposal waits for its outcome.
    Remedy,
    /// Nothing is left to do before the incident ends.
    Await,
    Report,
    Done,
}

/// Who runs and who waits in this partition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Queue {
    pub running: BTreeSet<IncidentId>,
    /// Most severe first, then oldest.
    pub waiting: BTreeSet<(i8, i64, IncidentId)>,
}

impl Queue {
    pub fn place(severity: Severity, at: DateTime<Utc>, id: IncidentId) -> (i8, i64, IncidentId) {
        let rank = match severity {
            Severity::Critical => 0,
            Severity::Warning => 1,
            Severity::Info => 2,
        };
        (rank, at.timestamp_micros(), id)
    }
}

impl Case {
    pub fn new(incident: Incident) -> Self {
        Case {
            incident,
            members: BTreeMap::new(),
            suspects: Vec::new(),
            run: None,
            runs: 0,
        }
    }

    pub fn domain(&self) -> String {
        format!("{}/{}", self.incident.tenant, self.incident.environment)
    }

    pub fn over(&self) -> bool {
        self.incident.status == Status::Resolved
    }

    /// The incident after one more fact.
    pub fn take_in(&mut self, event: &IncidentEvent) {
        self.incident.clone_from(&event.incident);
        match &event.fact {
            Fact::Opened { member } | Fact::SignalJoined { member } | Fact::MemberChanged { member } => {
                self.admit(member);
            }
            Fact::Absorbed { members, .. } => members.iter().for_each(|member| self.admit(member)),
            Fact::SuspectFound { suspect } if !self.suspects.iter().any(|known| known.signal == suspect.signal) => {
                self.suspects.push(suspect.clone());
                self.suspects.sort_by_key(|one| (one.before_ms, one.signal));
            }
            _ => {}
        }
    }

    /// Who looks into it, side by side. Security is audited where a scanner told of a weakness or a change is suspected; whether what runs is
    /// what was written down is asked where a change is.
    pub fn investigators(&self) -> &'static [Agent] {
        use Agent::{ComplianceChecker, LogAnalyst, MetricCorrelator, SecurityAuditor};
        let weakness = self
            .members
            .values()
            .any(|member| Weakness::of(&member.dedup_key).is_some());
        match (self.suspects.is_empty(), weakness) {
            (false, _) => &[LogAnalyst, MetricCorrelator, SecurityAuditor, ComplianceChecker],
            (true, true) => &[LogAnalyst, MetricCorrelator, SecurityAuditor],
            (true, false) => &[LogAnalyst, MetricCorrelator],
        }
    }

    /// Keeps the earliest members: the cause lies nearer to them than to the last of a storm.
    fn admit(&mut self, member: &Member) {
        self.members.insert(member.episode, member.clone());
        if self.members.len() > Evidence::MEMBERS {
            let last = self
                .members
                .values()
                .max_by_key(|m| (m.starts_at, m.episode))
                .map(|m| m.episode);
            last.and_then(|episode| self.members.remove(&episode));
        }
    }

    /// What the next step is given.
    pub fn evidence(&self, run: &Run) -> Evidence {
        let mut members: Vec<Member> = self.members.values().cloned().collect();
        members.sort_by_key(|member| (member.starts_at, member.episode));
        Evidence {
            incident: self.incident.clone(),
            members,
            suspects: self.suspects.clone(),
            triage: run.triage.clone(),
            findings: run.findings.clone(),
            unknown: run.unknown.clone(),
            remediation: run.standing.clone(),
        }
    }
}

impl Run {
    pub fn new(id: Uuid, began_at: DateTime<Utc>) -> Self {
        Run {
            id,
            phase: Phase::Queued,
            paused: false,
            triage: None,
            findings: Vec::new(),
            unknown: Vec::new(),
            outstanding: BTreeMap::new(),
            proposal: None,
            standing: None,
            began_at,
        }
    }

    pub fn find(&mut self, findings: &[Finding]) {
        let free = FINDINGS.saturating_sub(self.findings.len());
        self.findings.extend(findings.iter().take(free).cloned());
    }

    pub fn active(&self) -> bool {
        !matches!(self.phase, Phase::Done)
    }
}
