//! What follows: people's answers, what the executor did, and what time does.

use chrono::{DateTime, Utc};
use model::approval::{Approver, Effect};
use model::proposal::Proposal;
use model::remediation::{Health, RemediationFact, RemediationStatus};
use stream::Disposition;
use stream::time::{Instant, micros};
use uuid::Uuid;

use super::{AsJson, Cx, Followed, Gate, REMEMBER};

impl Gate {
    pub(super) fn on_answer_of(&mut self, id: Uuid, fact: &RemediationFact, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let Some(mut followed) = self.proposals.remove(&id).map(|cell| cell.0) else {
            return cx.item(Disposition::Suppressed { rule: "no-proposal" });
        };
        let before = (followed.status, followed.checks);
        self.take_in(&mut followed, fact, at, cx);
        let news = before != (followed.status, followed.checks);
        if before.0 != followed.status {
            self.show(&followed, at, cx);
        }
        self.proposals.insert(id, AsJson(followed));
        cx.item(match news {
            true => Disposition::Forwarded,
            false => Disposition::Suppressed { rule: "no-news" },
        });
    }

    fn take_in(&mut self, followed: &mut Followed, fact: &RemediationFact, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        use RemediationStatus as S;
        let status = followed.status;
        match fact {
            RemediationFact::Approve { by, plan_hash } if status == S::Waiting => {
                self.on_approve(followed, by, plan_hash, at, cx);
            }
            RemediationFact::Deny { by, reason } if status == S::Waiting => self.deny(followed, by, reason, at, cx),
            // The executor may have acted just before the gate called it expired.
            RemediationFact::Attempted { before } if matches!(status, S::Granted | S::Expired) => {
                followed.status = S::Attempted;
                followed.before = Some(before.clone());
                self.due.cancel(&followed.proposal.id);
            }
            RemediationFact::Executed { before, note } if matches!(status, S::Granted | S::Attempted | S::Expired) => {
                followed.status = S::Executed;
                followed.before = Some(before.clone());
                followed.note.clone_from(note);
                followed.executed_at = Some(at);
                self.check_after(followed, self.settings.check_every, at, cx);
            }
            RemediationFact::Failed { cause } if !status.over() => {
                followed.status = S::Failed;
                followed.note.clone_from(cause);
                self.remember(followed, at);
            }
            RemediationFact::Checked {
                number,
                health,
                observed,
                note,
            } if status == S::Executed && *number == followed.checks => {
                followed.after.clone_from(observed);
                followed.note.clone_from(note);
                self.on_checked(followed, *health, at, cx);
            }
            RemediationFact::RolledBack { note } if status == S::Executed => {
                followed.status = S::RolledBack;
                followed.note.clone_from(note);
                self.remember(followed, at);
            }
            _ => {}
        }
    }

    /// A human's yes holds for the plan that was shown, before it expires, and not for one's own proposal. What the policy forbids by
    /// now stays forbidden.
    fn on_approve(&mut self, followed: &mut Followed, by: &str, plan_hash: &str, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let proposal: &Proposal = &followed.proposal;
        let usage = self
            .usage
            .get(&proposal.key())
            .map(|usage| usage.0.clone())
            .unwrap_or_default();
        let forbidden = self.policy.decide(proposal, &usage, at).effect == Effect::Forbid;
        let name = by.strip_prefix("human:").filter(|name| !name.is_empty());
        let own = by == proposal.proposed_by;
        match name {
            Some(name) if plan_hash == proposal.plan_hash && !own && !forbidden && at < proposal.expires_at => {
                let by = Approver::Human { name: name.to_owned() };
                self.grant(followed, by, at, cx);
            }
            _ => {}
        }
    }

    fn on_checked(&mut self, followed: &mut Followed, health: Health, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let proposal = followed.proposal.clone();
        let deadline = followed.executed_at.map(|done| {
            done.timestamp_micros()
                .saturating_add(micros(self.settings.verify_within.get()))
        });
        let late = deadline.is_some_and(|deadline| at.timestamp_micros() >= deadline);
        match health {
            Health::Recovered => {
                followed.status = RemediationStatus::Verified;
                let (Some(before), Some(after)) = (followed.before.clone(), followed.after.clone()) else {
                    followed.status = RemediationStatus::Unverified;
                    return self.remember(followed, at);
                };
                self.say(&proposal, RemediationFact::Verified { before, after }, at, cx);
                self.remember(followed, at);
            }
            Health::Worse if self.settings.rollback && proposal.inverse.is_some() => {
                if let Some(grant) = followed.grant.clone() {
                    let fact = RemediationFact::RollbackDue {
                        grant,
                        proposal: Box::new(proposal.clone()),
                    };
                    self.say(&proposal, fact, at, cx);
                }
            }
            Health::Worse => self.give_up(followed, at, cx),
            Health::NotYet if late => self.give_up(followed, at, cx),
            Health::NotYet => self.check_after(followed, self.settings.check_every, at, cx),
        }
    }

    fn give_up(&mut self, followed: &mut Followed, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        followed.status = RemediationStatus::Unverified;
        let fact = RemediationFact::Unverified {
            note: followed.note.clone(),
        };
        self.say(&followed.proposal.clone(), fact, at, cx);
        self.remember(followed, at);
    }

    /// A proposal that is over is remembered for a while, then forgotten.
    pub(super) fn remember(&mut self, followed: &Followed, at: DateTime<Utc>) {
        self.due.set(
            followed.proposal.id,
            Instant(at.timestamp_micros().saturating_add(REMEMBER)),
        );
    }

    pub(super) fn on_due(&mut self, id: Uuid, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        use RemediationStatus as S;
        let Some(mut followed) = self.proposals.remove(&id).map(|cell| cell.0) else {
            return;
        };
        let at = match followed.status {
            S::Executed => followed.check_at.unwrap_or(at),
            _ => at,
        };
        match followed.status {
            S::Proposed | S::Waiting | S::Granted => {
                followed.note = match followed.status {
                    S::Granted => "granted, but nobody carried it out in time".to_owned(),
                    _ => "nobody answered in time".to_owned(),
                };
                followed.status = S::Expired;
                self.say(&followed.proposal.clone(), RemediationFact::Expired, at, cx);
                self.remember(&followed, at);
                self.show(&followed, at, cx);
            }
            S::Executed if self.unanswered(&followed, at) => {
                followed.note = "nobody could look whether it helped".to_owned();
                self.give_up(&mut followed, at, cx);
                self.show(&followed, at, cx);
            }
            S::Executed => {
                followed.checks += 1;
                if let Some(before) = followed.before.clone() {
                    let fact = RemediationFact::CheckDue {
                        number: followed.checks,
                        before,
                        proposal: Box::new(followed.proposal.clone()),
                    };
                    self.say(&followed.proposal.clone(), fact, at, cx);
                }
                // Should nobody answer a check, the next one is due at the end of the time.
                self.check_after(&mut followed, self.settings.verify_within, at, cx);
            }
            S::Attempted => {}
            S::Denied | S::Expired | S::Verified | S::Unverified | S::RolledBack | S::Failed => return,
        }
        self.proposals.insert(id, AsJson(followed));
    }

    /// Whether the time for checks has passed twice over: then the checks themselves are not answered.
    fn unanswered(&self, followed: &Followed, at: DateTime<Utc>) -> bool {
        let twice = micros(self.settings.verify_within.get()).saturating_mul(2);
        followed
            .executed_at
            .is_some_and(|done| at.timestamp_micros() >= done.timestamp_micros().saturating_add(twice))
    }
}
