//! Gate: the one place that says yes. It reads `remediations`, holds each proposal against the policy, hears what people answer, has the
//! result checked, and writes the ledger.
//!
//! ```text
//!  proposed ─ policy ─┬─ allow ──────────────► granted ─► attempted ─► executed ─► check due … checked ─┬► verified
//!                     ├─ ask ─ human: approve ─┘   │           └► failed                                ├► unverified
//!                     │             └ deny ► denied└ expired                                            └► rollback due ─► rolled back
//!                     └─ forbid ► denied
//! ```
//!
//! It guarantees:
//!
//! * a grant is given once per proposal, by a rule with budget left or by a human who is not the proposer, for the plan that was shown;
//! * everything about one namespace stands in one order (the topic's key), so a budget is spent once, whoever asks;
//! * every fact is in the ledger: the gate's own in the commit that makes it, hence before anybody can act on it.
//!
//! * what nobody of this installation signed counts for nothing, is a dead letter, and shows on the proposal that it is about.
//!
//! It calls nothing and holds no acting tool: the executor acts on `granted`, and holds the grant against the world once more.

mod answers;
mod facts;
mod ledger;

use chrono::{DateTime, Utc};
use model::approval::{Budget, Effect, Grant, Policy, Usage};
use model::ledger::Chain;
use model::proposal::{Proposal, TargetState};
use model::remediation::{RemediationEvent, RemediationFact, RemediationStatus};
use model::signing::{self, Message, Signer, Verdict};
use model::topics;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::log::{Record, TopicPartition};
use stream::operator::{JsonRows, MigrateError};
use stream::partition::partition_for;
use stream::state::{SavedCells, StateCell};
use stream::time::{Instant, micros};
use stream::{Context, Disposition, Operator, Reject, Table, Timers};
use uuid::Uuid;

use crate::json_cell::AsJson;
use crate::settings_text::settings_text;

/// Settings of `[gate]`. All spans are event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GateSettings {
    /// How long after an execution its effect is checked before it counts as unverified.
    pub verify_within: HumanDuration,
    /// How long between two checks.
    pub check_every: HumanDuration,
    /// Whether what made things worse is taken back, where a plan has an inverse.
    pub rollback: bool,
}

impl Default for GateSettings {
    fn default() -> Self {
        GateSettings {
            verify_within: HumanDuration::from_secs(180),
            check_every: HumanDuration::from_secs(5),
            rollback: true,
        }
    }
}

/// A proposal that the gate follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    pub proposal: Proposal,
    pub status: RemediationStatus,
    pub grant: Option<Grant>,
    pub by: Option<String>,
    pub note: String,
    pub before: Option<TargetState>,
    pub after: Option<TargetState>,
    pub executed_at: Option<DateTime<Utc>>,
    pub checks: u32,
    /// When the next check is due, by the clock of who answered last.
    #[serde(default)]
    pub check_at: Option<DateTime<Utc>>,
}

/// The operator.
#[derive(Debug)]
pub struct Gate {
    settings: GateSettings,
    policy: Policy,
    signer: Signer,
    place: Place,
    proposals: Table<Uuid, AsJson<Followed>>,
    /// By topic key.
    usage: Table<String, AsJson<Usage>>,
    /// One entry each.
    ledger: Table<u8, Chain>,
    /// Proposal → when it expires, is checked, or is forgotten.
    due: Timers<Uuid>,
}

/// Which partition of `remediations` it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Names the ledger's chain: the topic as the log knows it, and the partition.
    pub chain: String,
    /// Partitions of the topic.
    pub partitions: u32,
}

/// A record of `remediations`.
#[derive(Debug)]
pub struct Entry {
    event: RemediationEvent,
    source: ledger::Source,
    /// Why it counts for nothing.
    forged: Option<&'static str>,
}

type Cx<'a> = Context<'a, JsonRows>;

/// How long a proposal that is over is remembered, so that it is not taken for a new one: microseconds.
const REMEMBER: i64 = 24 * 3_600 * 1_000_000;

impl Gate {
    /// `signer` signs what it says, and tells what the crew, the executor and people wrote from what others did.
    pub fn new(settings: &GateSettings, policy: Policy, signer: Signer, place: Place) -> Self {
        Gate {
            settings: settings.clone(),
            policy,
            signer,
            place,
            proposals: Table::default(),
            usage: Table::default(),
            ledger: Table::default(),
            due: Timers::default(),
        }
    }
}

impl Operator for Gate {
    type In = Entry;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "gate"
    }

    /// 2: records are held against their signatures; waits are counted on from where event time stands.
    fn logic_version(&self) -> u32 {
        2
    }

    /// Version 1 signed nothing, and counted the wait for a check from the answer's own time: what it set then stays due.
    fn migrate(&mut self, from: u32, cells: &SavedCells) -> Result<(), MigrateError> {
        crate::signed::same_cells(self, &[1], from, cells)
    }

    fn settings(&self) -> String {
        let keys = self.signer.key_names();
        settings_text(serde_json::json!({ "gate": self.settings, "policy": self.policy.hash(), "keys": keys }))
    }

    fn decode(&self, record: &Record, from: &TopicPartition) -> Result<Entry, Reject> {
        let event: RemediationEvent = serde_json::from_slice(&record.value).map_err(|error| Reject {
            reason: "bad_record",
            detail: error.to_string(),
            field: None,
            index: None,
        })?;
        let source = ledger::Source::of(record);
        let forged = self.forged(record, from, &event.fact);
        Ok(Entry { event, source, forged })
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![
            ("proposals", &mut self.proposals),
            ("usage", &mut self.usage),
            ("ledger", &mut self.ledger),
            ("due", &mut self.due),
        ]
    }

    /// Proposals and budgets go with their namespace. A chain of the ledger belongs to the old topic and ends with it.
    fn carry(&mut self, cells: &SavedCells, mine: &dyn Fn(&[u8]) -> bool) -> Result<(), MigrateError> {
        let mut from = Gate::new(
            &self.settings,
            self.policy.clone(),
            self.signer.clone(),
            self.place.clone(),
        );
        for (name, cell) in from.cells() {
            cells.read(name, cell)?;
        }
        for (id, followed) in from.proposals.sorted() {
            if mine(followed.0.proposal.key().as_bytes()) {
                self.proposals.insert(*id, followed.clone());
            }
        }
        for (key, usage) in from.usage.sorted() {
            if mine(key.as_bytes()) {
                self.usage.insert(key.clone(), usage.clone());
            }
        }
        while let Some((at, id)) = from.due.pop_due(Instant::MAX) {
            if self.proposals.contains(&id) {
                self.due.set(id, at);
            }
        }
        Ok(())
    }

    fn on_batch(&mut self, entry: &Entry, cx: &mut Cx<'_>) {
        let Entry { event, source, forged } = entry;
        if let Some(why) = forged {
            return self.on_forged(event, source, why, cx);
        }
        let own = matches!(
            event.fact,
            RemediationFact::Decided { .. }
                | RemediationFact::Granted { .. }
                | RemediationFact::Denied { .. }
                | RemediationFact::Expired
                | RemediationFact::CheckDue { .. }
                | RemediationFact::Verified { .. }
                | RemediationFact::Unverified { .. }
                | RemediationFact::RollbackDue { .. }
                | RemediationFact::Forged { .. }
        );
        if own {
            return cx.item(Disposition::Suppressed { rule: "own" });
        }
        self.enter(event, source, cx);
        let at = event.at.max(time(cx.watermark()));
        match &event.fact {
            RemediationFact::Proposed { proposal } => self.on_proposed(proposal, at, cx),
            RemediationFact::StopSwitch { .. } => cx.item(Disposition::Forwarded),
            fact => self.on_answer_of(event.id, fact, at, cx),
        }
    }

    fn on_watermark(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        while let Some((at, id)) = self.due.pop_due(watermark) {
            self.on_due(id, time(at), cx);
        }
    }
}

impl Gate {
    /// Why a record is not one of this installation's, or not where it was written.
    fn forged(&self, record: &Record, from: &TopicPartition, fact: &RemediationFact) -> Option<&'static str> {
        let key = record.key.as_deref().unwrap_or_default();
        let message = Message {
            topic: topics::REMEDIATIONS,
            key,
            value: &record.value,
        };
        match self
            .signer
            .check(message, record.header(signing::HEADER).map(|header| &**header))
        {
            Verdict::Forged(why) => Some(why),
            Verdict::Unchecked => None,
            // The stop switch stands in every partition. Anything else elsewhere is a copy, with which a budget could be spent twice.
            Verdict::Authentic { .. } => {
                let everywhere = matches!(fact, RemediationFact::StopSwitch { .. });
                let at_home = partition_for(key, self.place.partitions) == from.partition;
                (!everywhere && !at_home).then_some("it is a copy: its key belongs to another partition")
            }
        }
    }

    fn on_forged(&mut self, event: &RemediationEvent, source: &ledger::Source, why: &str, cx: &mut Cx<'_>) {
        let (kind, offset) = (event.fact.name().to_owned(), source.offset());
        let detail = format!("{kind} of remediation {}: {why}", event.id);
        if let Some(proposal) = self
            .proposals
            .get(&event.id)
            .map(|followed| followed.0.proposal.clone())
        {
            let why = why.to_owned();
            // The time that the record itself tells is as forged as the rest.
            let at = proposal.proposed_at.max(time(cx.watermark()));
            self.say(&proposal, RemediationFact::Forged { kind, offset, why }, at, cx);
        }
        cx.reject(Reject {
            reason: "forged",
            detail,
            field: None,
            index: None,
        });
    }

    fn on_proposed(&mut self, proposal: &Proposal, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        if self.proposals.contains(&proposal.id) {
            return cx.item(Disposition::Merged {
                id: proposal.id.as_u128(),
            });
        }
        if proposal.plan_hash != proposal.action.plan_hash() {
            return cx.reject(Reject {
                reason: "plan_hash",
                detail: format!("proposal {}: the hash is not that of its plan", proposal.id),
                field: Some("/fact/proposal/plan_hash".to_owned()),
                index: None,
            });
        }
        let usage = self
            .usage
            .get(&proposal.key())
            .map(|usage| usage.0.clone())
            .unwrap_or_default();
        let decision = self.policy.decide(proposal, &usage, at);
        let mut followed = Followed {
            proposal: proposal.clone(),
            status: RemediationStatus::Waiting,
            grant: None,
            by: None,
            note: decision.why.clone(),
            before: None,
            after: None,
            executed_at: None,
            checks: 0,
            check_at: None,
        };
        let decided = RemediationFact::Decided {
            decision: decision.clone(),
            policy: self.policy.hash(),
        };
        self.say(&followed.proposal, decided, at, cx);
        match decision.effect {
            Effect::Forbid => self.deny(&mut followed, "policy", &decision.why, at, cx),
            Effect::Ask => self.wait(&followed),
            Effect::Allow => {
                let rule = decision.rule.clone().unwrap_or_default();
                self.spend(proposal, &rule, at);
                let by = model::approval::Approver::Rule {
                    name: rule,
                    policy: self.policy.hash(),
                };
                self.grant(&mut followed, by, at, cx);
            }
        }
        self.show(&followed, at, cx);
        self.proposals.insert(proposal.id, AsJson(followed));
        cx.item(Disposition::Forwarded);
    }

    /// Notes an execution on a rule's budget, and lets go of what no budget reaches back to.
    fn spend(&mut self, proposal: &Proposal, rule: &str, at: DateTime<Utc>) {
        let longest = self
            .policy
            .rules()
            .iter()
            .filter_map(|rule| rule.budget)
            .map(span)
            .max();
        let usage = &mut self.usage.entry(proposal.key()).or_default().0.0;
        usage.push((rule.to_owned(), at));
        if let Some(longest) = longest {
            usage.retain(|(_, used)| at.signed_duration_since(*used) <= longest);
        }
    }

    fn wait(&mut self, followed: &Followed) {
        let at = followed.proposal.expires_at.timestamp_micros();
        self.due.set(followed.proposal.id, Instant(at));
    }

    /// A check is due `wait` after `at`. Event time lags behind the clock by the lateness that senders may use, and counted from `at` the
    /// check would come that much later: so the wait is counted from the watermark, which goes on as fast as the clock does.
    fn check_after(&mut self, followed: &mut Followed, wait: HumanDuration, at: DateTime<Utc>, cx: &Cx<'_>) {
        let wait = micros(wait.get());
        followed.check_at = Some(time(Instant(at.timestamp_micros().saturating_add(wait))));
        self.due
            .set(followed.proposal.id, Instant(cx.watermark().0.saturating_add(wait)));
    }
}

fn span(budget: Budget) -> chrono::TimeDelta {
    chrono::TimeDelta::seconds(i64::from(budget.per_seconds))
}

fn time(at: Instant) -> DateTime<Utc> {
    at.to_datetime()
}
