//! The trace of an incident: ids that derive from what they name. Whoever tells of a thing, and however often, names the same span, so a
//! trace that is told twice is the same trace.
//!
//! Trace ids have 128 bits and span ids 64, neither is zero (W3C Trace Context, <https://www.w3.org/TR/trace-context/>).

use std::fmt;

use twox_hash::XxHash3_64;
use uuid::Uuid;

use crate::{IncidentId, Origin};

/// The trace of an incident: the incident's id, read as a number.
pub fn trace_of(incident: IncidentId) -> u128 {
    incident.0.as_u128()
}

/// [`trace_of`] as W3C and OTLP write it: 32 hex digits.
pub fn trace_id(incident: IncidentId) -> String {
    incident.0.simple().to_string()
}

/// The incident itself.
pub fn root(incident: IncidentId) -> u64 {
    span(format_args!("incident/{incident}"))
}

/// The record of `events.raw` (or `logs`) that `origin` names, as it bears on an incident.
pub fn received(incident: IncidentId, origin: Origin) -> u64 {
    span(format_args!(
        "received/{incident}/{}/{}",
        origin.partition, origin.offset
    ))
}

/// The signal that came of one element of a record.
pub fn normalized(incident: IncidentId, origin: Origin) -> u64 {
    let Origin {
        partition,
        offset,
        index,
    } = origin;
    span(format_args!("normalized/{incident}/{partition}/{offset}/{index}"))
}

/// What dedupe let through of it.
pub fn deduped(incident: IncidentId, origin: Origin) -> u64 {
    let Origin {
        partition,
        offset,
        index,
    } = origin;
    span(format_args!("deduped/{incident}/{partition}/{offset}/{index}"))
}

/// The fact that made the incident's `revision`.
pub fn fact(incident: IncidentId, revision: u64) -> u64 {
    span(format_args!("fact/{incident}/{revision}"))
}

/// An agent's step, by its id.
pub fn step(step: Uuid) -> u64 {
    span(format_args!("step/{step}"))
}

/// The `index`-th use of a tool in a step.
pub fn tool_call(step: Uuid, index: usize) -> u64 {
    span(format_args!("step/{step}/call/{index}"))
}

/// A fact about a proposal; `number` tells checks apart.
pub fn remediation(proposal: Uuid, fact: &str, number: u32) -> u64 {
    span(format_args!("remediation/{proposal}/{fact}/{number}"))
}

/// A notification, by its id.
pub fn notification(id: Uuid) -> u64 {
    span(format_args!("notification/{id}"))
}

/// A notification on its way to one receiver.
pub fn delivery(notification: Uuid, receiver: &str) -> u64 {
    span(format_args!("notification/{notification}/to/{receiver}"))
}

fn span(name: fmt::Arguments<'_>) -> u64 {
    match XxHash3_64::oneshot(name.to_string().as_bytes()) {
        0 => 1,
        id => id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_vectors() {
        // A trace that is told again after an upgrade must have the ids that it had.
        let incident = IncidentId(Uuid::from_u128(0x0198_f0c2_7a55_5b5e_9a55_3f1d_5a0a_6e11));
        let origin = Origin {
            partition: 1,
            offset: 42,
            index: 3,
        };
        assert_eq!(trace_id(incident), "0198f0c27a555b5e9a553f1d5a0a6e11");
        assert_eq!(format!("{:032x}", trace_of(incident)), trace_id(incident));
        let found = [
            root(incident),
            received(incident, origin),
            normalized(incident, origin),
            deduped(incident, origin),
            fact(incident, 1),
            step(incident.0),
            tool_call(incident.0, 0),
            remediation(incident.0, "proposed", 0),
            notification(incident.0),
            delivery(incident.0, "ops"),
        ];
        let found: Vec<String> = found.iter().map(|id| format!("{id:016x}")).collect();
        assert_eq!(found, FROZEN);
    }

    const FROZEN: [&str; 10] = [
        "84ff1059d7312b40",
        "0703e70b4296b071",
        "fc60479eba40edd7",
        "8d2af9608ea4e766",
        "b49dbe7df4ba050f",
        "cb706e66eaf8acc2",
        "5d269460fa5f8f9b",
        "af752e9fded13435",
        "baa4ba2957a1f981",
        "6d3db6aabebe0770",
    ];
}
