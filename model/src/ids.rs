//! Identifiers. Every one derives from content, so that replay and any order of arrival give the same ids.

use std::fmt;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;
use uuid::Uuid;

/// The namespace of every name-based (version 5) id of Aegis.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1b_7f0e_52d1_5a0b_9d3c_ae91_5ae9_1500);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// One statement of a sender about one thing: equal content, equal id. UUID version 8 over XXH3-128.
    SignalId
}
id! {
    /// One firing of one alert, from its start to its end: (dedup key, start). UUID version 8 over XXH3-128.
    EpisodeId
}
id! {
    /// An incident's name. Fixed when the incident opens; never changes.
    IncidentId
}
id! {
    /// Arrival-independent name of an incident: UUID version 5 of its earliest member in event time.
    CanonicalKey
}

impl SignalId {
    /// `parts` are length-prefixed before hashing, so ("ab", "c") and ("a", "bc") differ.
    pub fn of(parts: &[&[u8]]) -> Self {
        SignalId(derive(1, parts))
    }
}

impl EpisodeId {
    /// `starts_at` in microseconds since the epoch.
    pub fn of(dedup_key: &str, starts_at: i64) -> Self {
        EpisodeId(derive(2, &[dedup_key.as_bytes(), &starts_at.to_le_bytes()]))
    }
}

impl IncidentId {
    /// The id of the incident that `episode` opens as its `generation`-th (0 unless the episode already opened one).
    pub fn opened_by(domain: &str, episode: EpisodeId, generation: u32) -> Self {
        let name = format!("incident/{domain}/{episode}/{generation}");
        IncidentId(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }
}

impl CanonicalKey {
    pub fn of(domain: &str, earliest_member: EpisodeId) -> Self {
        let name = format!("canonical/{domain}/{earliest_member}");
        CanonicalKey(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }
}

/// A name-based id for rows that derive from others (notifications, sink rows).
pub fn derived(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

fn derive(space: u64, parts: &[&[u8]]) -> Uuid {
    let mut hasher = XxHash3_128::with_seed(space);
    for part in parts {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    uuid::Builder::from_custom_bytes(hasher.finish_128().to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_vectors() {
        // Stored ids depend on these; a change here is a new id version, never an edit.
        assert_eq!(SignalId::of(&[b"a", b"b"]), SignalId::of(&[b"a", b"b"]));
        assert_ne!(SignalId::of(&[b"ab", b"c"]), SignalId::of(&[b"a", b"bc"]));
        assert_eq!(EpisodeId::of("k", 7).0.get_version_num(), 8);
        assert_eq!(CanonicalKey::of("d", EpisodeId::default()).0.get_version_num(), 5);
    }
}
