//! Crew: an explicit state machine per incident, which asks the agents for their steps and follows what they find.
//!
//! ```text
//!  opened ─► triage ─┬► watch ────────────────────────────────► done
//!                    └► log analyst ∥ metric correlator ∥ … ─► fixer ─┬► proposal ─► remedy ─ verified ─► report ─► resolved by agent
//!                                                                └► no proposal ─► await the end ─► report
//! ```
//!
//! It guarantees:
//!
//! * every step is a record before anybody works on it, and its answer a record behind it: after a crash what is outstanding is
//!   asked for by the log, and an answer that comes twice counts once;
//! * no step is waited for beyond its deadline (event time); what it would have told is named as unknown, and the run goes on;
//! * a step that nobody of this installation signed is a dead letter;
//! * it acts on nothing: a fix is a proposal on `remediations`, which the gate judges.
//!
//! At most [`CrewSettings::running`] runs are under way per partition; further incidents wait in order of severity and age. Detection
//! never waits for it.

mod case;
mod orders;
mod run;
mod told;

use bytes::Bytes;
use model::investigation::StepEvent;
use model::signing::Signer;
use model::{IncidentEvent, IncidentId, Severity, topics};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;
use stream::log::{Record, TopicPartition};
use stream::operator::{JsonRows, MigrateError};
use stream::state::{SavedCells, StateCell};
use stream::time::Instant;
use stream::{Context, Disposition, Operator, Reject, Table, Timers};
use uuid::Uuid;

use crate::json_cell::AsJson;
use crate::settings_text::settings_text;
use case::{Case, Queue};

/// Settings of `[crew]`. All spans are event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrewSettings {
    /// Whether incidents are investigated.
    pub enabled: bool,
    /// The least severity that is investigated: `info`, `warning` or `critical`.
    #[schemars(with = "String", extend("enum" = ["info", "warning", "critical"]))]
    pub severity: Severity,
    /// Runs under way at once, per partition. More: neighbours are asked more at once in a storm.
    #[schemars(range(min = 1, max = 1024))]
    pub running: u32,
    /// How long a step may take. After that the run goes on without what it would have told.
    pub step_deadline: HumanDuration,
    /// How often a step that failed or did not answer is asked for.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// An incident that came into the log later than this after it began is history (a replayed file): it is not investigated.
    pub fresh_within: HumanDuration,
    /// How long a case is remembered after its incident has ended; if it reopens within that, the run begins anew with what is known.
    pub remember: HumanDuration,
}

impl Default for CrewSettings {
    fn default() -> Self {
        CrewSettings {
            enabled: true,
            severity: Severity::Warning,
            running: 16,
            step_deadline: HumanDuration::from_secs(45),
            attempts: 2,
            fresh_within: HumanDuration::from_secs(3_600),
            remember: HumanDuration::from_secs(3_600),
        }
    }
}

/// What a timer is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Due {
    /// A step's deadline.
    Step(IncidentId, Uuid),
    /// A case is forgotten.
    Forget(IncidentId),
}

/// The operator.
#[derive(Debug)]
pub struct Crew {
    settings: CrewSettings,
    signer: Signer,
    cases: Table<IncidentId, AsJson<Case>>,
    /// One entry: who runs, and who waits.
    queue: Table<u8, Queue>,
    due: Timers<Due>,
}

type Cx<'a> = Context<'a, JsonRows>;

/// A record of `incidents`.
#[derive(Debug)]
pub enum Entry {
    /// With the time at which its cause was taken into the log.
    Fact(Box<IncidentEvent>, Instant),
    Step(Box<StepEvent>),
}

impl Crew {
    /// `signer` signs steps and proposals, and tells answers and orders from what others wrote.
    pub fn new(settings: &CrewSettings, signer: Signer) -> Self {
        Crew {
            settings: settings.clone(),
            signer,
            cases: Table::default(),
            queue: Table::default(),
            due: Timers::default(),
        }
    }

    /// Steps are signed; facts of correlate are what everybody may read and nobody acts on alone.
    fn refuse_forged(&self, record: &Record) -> Result<(), Reject> {
        if record.header(topics::header::TYPE).is_none() {
            return Ok(());
        }
        crate::signed::require_step(&self.signer, record).map_err(|why| Reject {
            reason: "forged",
            detail: format!("a step: {why}"),
            field: None,
            index: None,
        })
    }

    fn queue(&mut self) -> &mut Queue {
        self.queue.entry(0).or_default()
    }

    /// Changes a case, and lets go of it when it is gone.
    fn with_case<R>(&mut self, id: IncidentId, change: impl FnOnce(&mut Self, &mut Case) -> R) -> Option<R> {
        let mut case = self.cases.remove(&id)?;
        let result = change(self, &mut case.0);
        self.cases.insert(id, case);
        Some(result)
    }
}

impl Operator for Crew {
    type In = Entry;
    type Out = JsonRows;

    fn name(&self) -> &'static str {
        "crew"
    }

    /// 2: steps are held against their signatures. 3: security auditor and compliance checker take part.
    fn logic_version(&self) -> u32 {
        3
    }

    /// Versions 1 and 2 kept the same, with fewer agents.
    fn migrate(&mut self, from: u32, cells: &SavedCells) -> Result<(), MigrateError> {
        crate::signed::same_cells(self, &[1, 2], from, cells)
    }

    fn settings(&self) -> String {
        settings_text(serde_json::json!({ "crew": self.settings, "keys": self.signer.key_names() }))
    }

    fn decode(&self, record: &Record, _: &TopicPartition) -> Result<Entry, Reject> {
        let refuse = |error: serde_json::Error| Reject {
            reason: "bad_record",
            detail: error.to_string(),
            field: None,
            index: None,
        };
        self.refuse_forged(record)?;
        match record.header(topics::header::TYPE) {
            None => serde_json::from_slice(&record.value).map(|event| Entry::Fact(Box::new(event), record.timestamp)),
            Some(_) => serde_json::from_slice(&record.value).map(Box::new).map(Entry::Step),
        }
        .map_err(refuse)
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![
            ("cases", &mut self.cases),
            ("queue", &mut self.queue),
            ("due", &mut self.due),
        ]
    }

    /// A case goes with its incident's domain, and its timers and its place in the queue with it.
    fn carry(&mut self, cells: &SavedCells, mine: &dyn Fn(&[u8]) -> bool) -> Result<(), MigrateError> {
        let mut from = Crew::new(&self.settings, self.signer.clone());
        for (name, cell) in from.cells() {
            cells.read(name, cell)?;
        }
        for (id, case) in from.cases.sorted() {
            if mine(case.0.domain().as_bytes()) {
                self.cases.insert(*id, case.clone());
            }
        }
        let theirs = std::mem::take(from.queue());
        let running: Vec<IncidentId> = theirs
            .running
            .into_iter()
            .filter(|id| self.cases.contains(id))
            .collect();
        let waiting: Vec<_> = theirs
            .waiting
            .into_iter()
            .filter(|(_, _, id)| self.cases.contains(id))
            .collect();
        let queue = self.queue();
        queue.running.extend(running);
        queue.waiting.extend(waiting);
        while let Some((at, due)) = from.due.pop_due(Instant::MAX) {
            let (Due::Step(id, _) | Due::Forget(id)) = &due;
            if self.cases.contains(id) {
                self.due.set(due, at);
            }
        }
        Ok(())
    }

    fn on_batch(&mut self, entry: &Entry, cx: &mut Cx<'_>) {
        match entry {
            _ if !self.settings.enabled => cx.item(Disposition::Suppressed { rule: "crew-off" }),
            Entry::Fact(event, taken_at) => self.on_fact(event, *taken_at, cx),
            Entry::Step(step) => match step.as_ref() {
                StepEvent::Requested(_) => cx.item(Disposition::Suppressed { rule: "request" }),
                StepEvent::Finished(result) => self.on_result(result, cx),
                StepEvent::Ordered(order) => self.on_order(order, cx),
                StepEvent::Remediation {
                    incident_id,
                    standing,
                    at,
                } => self.on_standing(*incident_id, standing, *at, cx),
            },
        }
    }

    fn on_watermark(&mut self, watermark: Instant, cx: &mut Cx<'_>) {
        while let Some((at, due)) = self.due.pop_due(watermark) {
            match due {
                Due::Step(incident, step) => self.on_deadline(incident, step, at, cx),
                Due::Forget(incident) => self.forget(incident),
            }
        }
    }
}

/// Structs of strings, numbers and lists of such: serialising them cannot fail.
fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}
