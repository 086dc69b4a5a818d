//! What people say to a run: pause, resume, cancel, begin anew.

use chrono::{DateTime, Utc};
use model::investigation::{RunOrder, RunVerb, StepEvent, StepResult, StepStatus};
use stream::Disposition;

use super::case::{Case, Phase, Run};
use super::{Crew, Cx, Due, told};

impl Crew {
    pub(super) fn on_order(&mut self, order: &RunOrder, cx: &mut Cx<'_>) {
        let at = order.at.max(told::time(cx.watermark()));
        let heard = self.with_case(order.incident_id, |crew, case| {
            let active = case.run.as_ref().is_some_and(Run::active);
            match (order.verb, active) {
                (RunVerb::Pause, true) => case.run.iter_mut().for_each(|run| run.paused = true),
                (RunVerb::Resume, true) => {
                    case.run.iter_mut().for_each(|run| run.paused = false);
                    crew.go_on(case, at, cx);
                }
                (RunVerb::Cancel, true) => crew.drop_run(case, at, cx),
                (RunVerb::Rerun, false) => crew.line_up(case, at),
                _ => return false,
            }
            true
        });
        cx.item(match heard {
            Some(true) => Disposition::Forwarded,
            _ => Disposition::Suppressed { rule: "no-such-run" },
        });
        self.begin_waiting(at, cx);
    }

    /// Ends a run; its outstanding steps are answered as cancelled.
    pub(super) fn drop_run(&mut self, case: &mut Case, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let (domain, incident) = (case.domain(), case.incident.id);
        let Some(run) = case.run.as_mut() else { return };
        run.phase = Phase::Done;
        for (id, asked) in std::mem::take(&mut run.outstanding) {
            self.due.cancel(&Due::Step(incident, id));
            let result = StepResult {
                schema: StepResult::SCHEMA,
                id,
                run: run.id,
                incident_id: incident,
                agent: asked.agent,
                status: StepStatus::Cancelled,
                error: "the run was cancelled".to_owned(),
                output: Default::default(),
                tool_calls: Vec::new(),
                tokens_used: 0,
                duration_ms: (at - asked.at).num_milliseconds().max(0) as u64,
                at,
            };
            told::step(&self.signer, domain.clone(), &StepEvent::Finished(Box::new(result)), cx);
        }
        let queue = self.queue();
        queue.running.remove(&incident);
        queue.waiting.retain(|(_, _, waiting)| *waiting != incident);
    }
}
