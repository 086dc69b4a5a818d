//! What the gate says: facts on `remediations`, how a proposal stands on `incidents`, and an entry of the ledger for each.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use model::approval::{Approver, Grant};
use model::investigation::StepEvent;
use model::proposal::Proposal;
use model::remediation::{RemediationEvent, RemediationFact, RemediationStatus, Standing};
use model::topics;
use serde::Serialize;
use stream::log::NewRecord;

use super::{Cx, Followed, Gate};
use crate::signed;

impl Gate {
    /// Says `fact` about a proposal, and enters it into the ledger in the same commit.
    pub(super) fn say(&mut self, proposal: &Proposal, fact: RemediationFact, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let event = RemediationEvent::new(proposal.id, proposal.incident_id, at, fact);
        let value = json(&event);
        let position = self.enter_own(&event, &value, cx);
        let record = NewRecord {
            value,
            ..NewRecord::default()
        };
        let key = proposal.key();
        let record = signed::signed(&self.signer, topics::REMEDIATIONS, &key, record, &position);
        cx.emit_side(&topics::REMEDIATIONS.into(), Bytes::from(key), record);
        cx.accounting().produce("remediation");
    }

    /// Tells the crew how a proposal stands.
    pub(super) fn show(&self, followed: &Followed, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let proposal = &followed.proposal;
        let event = StepEvent::Remediation {
            incident_id: proposal.incident_id,
            standing: Box::new(Standing {
                proposal: proposal.id,
                action: proposal.action.clone(),
                status: followed.status,
                by: followed.by.clone(),
                note: followed.note.clone(),
                before: followed.before.clone(),
                after: followed.after.clone(),
                at,
            }),
            at,
        };
        let headers = vec![(
            topics::header::TYPE.to_owned(),
            Bytes::from_static(topics::header::STEP.as_bytes()),
        )];
        let record = NewRecord {
            value: json(&event),
            headers,
            ..NewRecord::default()
        };
        let domain = format!("{}/{}", proposal.tenant, proposal.environment);
        let record = signed::signed(&self.signer, topics::INCIDENTS, &domain, record, "");
        cx.emit_side(&topics::INCIDENTS.into(), Bytes::from(domain), record);
        cx.accounting().produce("standing");
    }

    pub(super) fn grant(&mut self, followed: &mut Followed, by: Approver, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        let grant = Grant::of(&followed.proposal, by, at, followed.proposal.expires_at);
        followed.status = RemediationStatus::Granted;
        followed.by = Some(grant.by.label());
        followed.note = format!("granted by {}", grant.by.label());
        followed.grant = Some(grant.clone());
        let fact = RemediationFact::Granted {
            grant,
            proposal: Box::new(followed.proposal.clone()),
        };
        self.say(&followed.proposal.clone(), fact, at, cx);
        self.wait(followed);
    }

    pub(super) fn deny(&mut self, followed: &mut Followed, by: &str, reason: &str, at: DateTime<Utc>, cx: &mut Cx<'_>) {
        followed.status = RemediationStatus::Denied;
        followed.by = Some(by.to_owned());
        followed.note = reason.to_owned();
        let fact = RemediationFact::Denied {
            by: by.to_owned(),
            reason: reason.to_owned(),
        };
        self.say(&followed.proposal.clone(), fact, at, cx);
        self.remember(followed, at);
    }
}

/// Structs of strings, numbers and lists of such: serialising them cannot fail.
pub(super) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}
