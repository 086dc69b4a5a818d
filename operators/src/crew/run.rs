//! How a run goes on: from phase to phase, by answers, deadlines and the outcome of its proposal.

use chrono::{DateTime, Utc};
use model::command::Order;
use model::incident::CANARY;
use model::investigation::{Agent, StepEvent, StepRequest, StepResult, StepStatus, TriageAction, Unknown};
use model::remediation::{RemediationStatus, Standing};
use model::{Fact, IncidentEvent, IncidentId, ids};
use stream::Disposition;
use stream::time::{Instant, micros};
use uuid::Uuid;

use super::case::{Asked, Case, Phase, Queue, Run};
use super::{Crew, Cx, Due, told};

impl Crew {
    pub(super) fn on_fact(&mut self, event: &IncidentEvent, taken_at: Instant, cx: &mut Cx<'_>) {
        let id = event.incident.id;
        if !self.cases.contains(&id) {
            if !matches!(event.fact, Fact::Opened { .. } | Fact::Reopened { .. }) {
                return cx.item(Disposition::Suppressed { rule: "no-case" });
            }
            if event.incident.environment == CANARY {
                return cx.item(Disposition::Suppressed { rule: "canary" });
            }
            let fresh = micros(self.settings.fresh_within.get());
            if taken_at.0.saturating_sub(event.at.timestamp_micros()) > fresh {
                return cx.item(Disposition::Suppressed { rule: "history" });
            }
            let case = Case::new(event.incident.clone());
            self.cases.insert(id, crate::json_cell::AsJson(case));
        }
        let at = event.at.max(told::time(cx.watermark()));
        self.with_case(id, |crew, case| {
            case.take_in(event);
            match &event.fact {
                Fact::Merged { .. } => crew.drop_run(case, at, cx),
                Fact::Opened { .. } => crew.admit(case, false, at),
                Fact::Escalated { .. } | Fact::Reopened { .. } => crew.admit(case, true, at),
                _ => {}
            }
            match case.over() {
                true => crew.on_over(case, at, cx),
                false => crew.due.cancel(&Due::Forget(id)),
            }
        });
        cx.item(Disposition::Forwarded);
        self.begin_waiting(at, cx);
    }

    /// Lines a run up, unless one is under way. After one that is done, only what is worse or new leads to another.
    fn admit(&mut self, case: &mut Case, anew: bool, at: DateTime<Utc>) {
        let due = match &case.run {
            None => true,
            Some(run) => anew && !run.active(),
        };
        if due && case.incident.severity >= self.settings.severity {
            self.line_up(case, at);
        }
    }

    /// A new run, which waits for its turn.
    pub(super) fn line_up(&mut self, case: &mut Case, at: DateTime<Utc>) {
        case.runs += 1;
        let id = ids::derived(&format!("run/{}/{}", case.incident.id, case.runs));
        case.run = Some(Run::new(id, at));
        let place = Queue::place(case.incident.severity, at, case.incident.id);
        self.queue().waiting.insert(place);
    }

    /// Lets those who wait begin, as far as there is room.
    pub(super) fn begin_waiting(&mut self, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let room = self.settings.running as usize;
        loop {
            let queue = self.queue();
            if queue.running.len() >= room {
                return;
            }
            let Some((_, _, id)) = queue.waiting.pop_first() else {
                return;
            };
            queue.running.insert(id);
            self.with_case(id, |crew, case| crew.begin(case, at, cx));
        }
    }

    fn begin(&mut self, case: &mut Case, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let Some(run) = &mut case.run else { return };
        run.phase = Phase::Triage;
        let name = format!("acknowledge/{}", run.id);
        told::command(case, "agent:crew", at, &name, Order::Acknowledge, cx);
        self.ask(case, Agent::Triage, 1, at, cx);
    }

    fn ask(&mut self, case: &mut Case, agent: Agent, attempt: u32, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let Some(run) = &mut case.run else { return };
        let id = StepRequest::id_of(run.id, agent, attempt);
        run.outstanding.insert(id, Asked { agent, attempt, at });
        let deadline = Instant(at.timestamp_micros()).saturating_add(self.settings.step_deadline.get());
        self.due.set(Due::Step(case.incident.id, id), deadline);
        let Some(run) = &case.run else { return };
        let request = StepRequest {
            schema: StepRequest::SCHEMA,
            id,
            run: run.id,
            agent,
            attempt,
            evidence: case.evidence(run),
            requested_at: at,
            deadline_at: told::time(deadline),
        };
        told::step(
            &self.signer,
            case.domain(),
            &StepEvent::Requested(Box::new(request)),
            cx,
        );
    }

    pub(super) fn on_result(&mut self, result: &StepResult, cx: &mut Cx<'_>) {
        let at = result.at.max(told::time(cx.watermark()));
        let awaited = self.with_case(result.incident_id, |crew, case| {
            let Some(asked) = case.run.as_mut().and_then(|run| run.outstanding.remove(&result.id)) else {
                return false;
            };
            crew.due.cancel(&Due::Step(result.incident_id, result.id));
            crew.take_result(case, asked, result, at, cx);
            true
        });
        cx.item(match awaited {
            Some(true) => Disposition::Forwarded,
            _ => Disposition::Suppressed { rule: "not-awaited" },
        });
        self.begin_waiting(at, cx);
    }

    pub(super) fn on_deadline(&mut self, incident: IncidentId, step: Uuid, at: Instant, cx: &mut Cx<'_>) {
        let at = told::time(at);
        self.with_case(incident, |crew, case| {
            let domain = case.domain();
            let Some(run) = case.run.as_mut() else { return };
            let Some(asked) = run.outstanding.remove(&step) else {
                return;
            };
            let result = StepResult {
                schema: StepResult::SCHEMA,
                id: step,
                run: run.id,
                incident_id: incident,
                agent: asked.agent,
                status: StepStatus::Timeout,
                error: "no answer before the deadline".to_owned(),
                output: Default::default(),
                tool_calls: Vec::new(),
                tokens_used: 0,
                duration_ms: (at - asked.at).num_milliseconds().max(0) as u64,
                at,
            };
            told::step(&crew.signer, domain, &StepEvent::Finished(Box::new(result.clone())), cx);
            crew.take_result(case, asked, &result, at, cx);
        });
        self.begin_waiting(at, cx);
    }

    fn take_result(&mut self, case: &mut Case, asked: Asked, result: &StepResult, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let Some(run) = case.run.as_mut() else { return };
        let failed = result.status != StepStatus::Success;
        if failed && asked.attempt < self.settings.attempts && !run.paused {
            return self.ask(case, asked.agent, asked.attempt + 1, at, cx);
        }
        let unknown = |what: &str| Unknown {
            agent: asked.agent,
            what: what.to_owned(),
        };
        if failed {
            let what = format!("the step ended as {}: {}", result.status.as_str(), result.error);
            run.unknown.push(unknown(&what));
        }
        run.unknown
            .extend(result.output.unknown.iter().map(|what| unknown(what)));
        // A statement without a citation is none.
        let cited: Vec<_> = result
            .output
            .findings
            .iter()
            .filter(|f| !f.citations.is_empty())
            .cloned()
            .collect();
        run.find(&cited);
        let by = format!("agent:{}", asked.agent.as_str());
        for (number, finding) in cited.into_iter().enumerate() {
            let finding = Box::new(finding);
            let name = format!("finding/{}/{number}", result.id);
            told::command(case, &by, at, &name, Order::AddFinding { finding }, cx);
        }
        let Some(run) = case.run.as_mut() else { return };
        match asked.agent {
            Agent::Triage => run.triage.clone_from(&result.output.triage),
            Agent::Fixer => {
                // A proposal about another incident is none of this run's.
                let proposal = result.output.proposal.as_ref();
                if let Some(proposal) = proposal.filter(|proposal| proposal.incident_id == case.incident.id) {
                    run.proposal = Some(proposal.id);
                    told::propose(&self.signer, proposal, at, cx);
                }
            }
            Agent::PostmortemWriter => {
                if let Some(postmortem) = &result.output.postmortem {
                    let order = Order::AddPostmortem {
                        postmortem: Box::new(postmortem.clone()),
                    };
                    told::command(case, &by, at, &format!("postmortem/{}", result.id), order, cx);
                }
                // What is to be done afterwards: the run does not wait for its outcome.
                let proposal = result.output.proposal.as_ref();
                if let Some(proposal) = proposal.filter(|proposal| proposal.incident_id == case.incident.id) {
                    told::propose(&self.signer, proposal, at, cx);
                }
            }
            Agent::LogAnalyst | Agent::MetricCorrelator | Agent::SecurityAuditor | Agent::ComplianceChecker => {}
        }
        self.go_on(case, at, cx);
    }

    /// The next phase, when nothing of the current one is outstanding.
    pub(super) fn go_on(&mut self, case: &mut Case, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let over = case.over();
        let investigators = case.investigators();
        let Some(run) = case.run.as_mut() else { return };
        if run.paused || !run.outstanding.is_empty() {
            return;
        }
        let watch = run
            .triage
            .as_ref()
            .is_some_and(|triage| triage.action == TriageAction::Watch);
        let (next, agents): (Phase, &[Agent]) = match run.phase {
            Phase::Triage if watch => (Phase::Done, &[]),
            Phase::Triage => (Phase::Investigate, investigators),
            Phase::Investigate => (Phase::Fix, &[Agent::Fixer]),
            Phase::Fix if run.proposal.is_some() => (Phase::Remedy, &[]),
            Phase::Fix | Phase::Await if over => (Phase::Report, &[Agent::PostmortemWriter]),
            Phase::Fix => (Phase::Await, &[]),
            Phase::Remedy => match run.standing.as_ref().map(|standing| standing.status) {
                Some(RemediationStatus::Verified) => (Phase::Report, &[Agent::PostmortemWriter]),
                Some(status) if status.over() && over => (Phase::Report, &[Agent::PostmortemWriter]),
                Some(status) if status.over() => (Phase::Await, &[]),
                _ => return,
            },
            Phase::Report => (Phase::Done, &[]),
            Phase::Queued | Phase::Await | Phase::Done => return,
        };
        if run.phase == Phase::Report {
            self.close(case, at, cx);
        }
        let Some(run) = case.run.as_mut() else { return };
        run.phase = next;
        // Waiting for an end or for people takes no room.
        if matches!(next, Phase::Done | Phase::Await | Phase::Remedy) {
            self.queue().running.remove(&case.incident.id);
        }
        for agent in agents {
            self.ask(case, *agent, 1, at, cx);
        }
    }

    /// The end of a run whose remediation helped: the incident is resolved by the agent.
    fn close(&mut self, case: &Case, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let Some(run) = &case.run else { return };
        let Some(standing) = run
            .standing
            .as_ref()
            .filter(|s| s.status == RemediationStatus::Verified)
        else {
            return;
        };
        let order = Order::Resolve {
            resolution: format!(
                "{}, granted by {}",
                standing.action,
                standing.by.as_deref().unwrap_or("nobody")
            ),
        };
        let name = format!("resolve/{}", run.id);
        told::command(case, "agent:postmortem_writer", at, &name, order, cx);
    }

    pub(super) fn on_standing(&mut self, id: IncidentId, standing: &Standing, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let at = at.max(told::time(cx.watermark()));
        let known = self.with_case(id, |crew, case| {
            told::notify(case, standing, at, cx);
            if let Some(run) = case.run.as_mut().filter(|run| run.proposal == Some(standing.proposal)) {
                run.standing = Some(standing.clone());
            }
            crew.go_on(case, at, cx);
        });
        cx.item(match known {
            Some(()) => Disposition::Forwarded,
            None => Disposition::Suppressed { rule: "no-case" },
        });
    }

    fn on_over(&mut self, case: &mut Case, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let id = case.incident.id;
        // What has not begun need not begin.
        if case.run.as_ref().is_some_and(|run| run.phase == Phase::Queued) {
            let queue = self.queue();
            queue.waiting.retain(|(_, _, waiting)| *waiting != id);
            if let Some(run) = case.run.as_mut() {
                run.phase = Phase::Done;
            }
        }
        self.go_on(case, at, cx);
        let forget = at
            .timestamp_micros()
            .saturating_add(micros(self.settings.remember.get()));
        self.due.set(Due::Forget(id), Instant(forget));
    }

    pub(super) fn forget(&mut self, id: IncidentId) {
        let Some(case) = self.cases.remove(&id) else { return };
        for step in case.0.run.iter().flat_map(|run| run.outstanding.keys()) {
            self.due.cancel(&Due::Step(id, *step));
        }
        let queue = self.queue();
        queue.running.remove(&id);
        queue.waiting.retain(|(_, _, waiting)| *waiting != id);
    }
}
