//! The ledger's entries: one for every record of `remediations`, chained per partition.

use bytes::Bytes;
use model::ledger::{Entry, LedgerEntry};
use model::remediation::{RemediationEvent, RemediationFact};
use model::topics;
use stream::log::{NewRecord, Record};

use super::facts::json;
use super::{Cx, Gate};

/// Where a record stands, and its bytes.
#[derive(Clone, Debug)]
pub struct Source {
    offset: u64,
    value: Bytes,
}

impl Source {
    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn of(record: &Record) -> Self {
        Source {
            offset: record.offset.0,
            value: record.value.clone(),
        }
    }
}

impl Gate {
    /// An entry about a record that somebody else wrote.
    pub(super) fn enter(&mut self, event: &RemediationEvent, source: &Source, cx: &mut Cx<'_>) {
        self.append(event, Some(source.offset), &source.value, cx);
    }

    /// An entry about a record of this very commit; its place in the chain, `CHAIN/SEQUENCE`.
    pub(super) fn enter_own(&mut self, event: &RemediationEvent, value: &Bytes, cx: &mut Cx<'_>) -> String {
        let sequence = self.append(event, None, value, cx);
        format!("{}/{sequence}", self.place.chain)
    }

    fn append(&mut self, event: &RemediationEvent, offset: Option<u64>, value: &Bytes, cx: &mut Cx<'_>) -> u64 {
        let entry = Entry {
            at: event.at,
            kind: event.fact.name(),
            subject: event.id,
            by: by(&event.fact),
            offset,
            record: value,
        };
        let made: LedgerEntry = self.ledger.entry(0).or_default().append(&self.place.chain, entry);
        let record = NewRecord {
            value: json(&made),
            ..NewRecord::default()
        };
        cx.emit_side(&topics::LEDGER.into(), Bytes::from(self.place.chain.clone()), record);
        cx.accounting().produce("ledger");
        made.sequence
    }
}

fn by(fact: &RemediationFact) -> &str {
    match fact {
        RemediationFact::Proposed { proposal } => &proposal.proposed_by,
        RemediationFact::Denied { by, .. }
        | RemediationFact::Approve { by, .. }
        | RemediationFact::Deny { by, .. }
        | RemediationFact::StopSwitch { by, .. } => by,
        RemediationFact::Attempted { .. }
        | RemediationFact::Executed { .. }
        | RemediationFact::Failed { .. }
        | RemediationFact::Checked { .. }
        | RemediationFact::RolledBack { .. } => "executor",
        RemediationFact::Decided { .. }
        | RemediationFact::Granted { .. }
        | RemediationFact::Expired
        | RemediationFact::CheckDue { .. }
        | RemediationFact::Verified { .. }
        | RemediationFact::Unverified { .. }
        | RemediationFact::RollbackDue { .. }
        | RemediationFact::Forged { .. } => "gate",
    }
}
