//! Silences: for a while, people are not told of certain incidents. What happens to the incidents themselves does not change.
//!
//! They stand on the topic `silences`, in one partition, so that everybody hears them in one order.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{IncidentId, Notification, Severity};

/// Which incidents. Every criterion that is given must be met; of a list, one of its words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Criteria {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<IncidentId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub severities: Vec<Severity>,
    /// The title has this in it, in capitals or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// What of an incident a silence looks at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub incident: IncidentId,
    pub service: Option<&'a str>,
    pub environment: &'a str,
    pub severity: Severity,
    pub title: &'a str,
}

impl<'a> From<&'a Notification> for Subject<'a> {
    fn from(n: &'a Notification) -> Self {
        Subject {
            incident: n.incident_id,
            service: n.service.as_deref(),
            environment: &n.environment,
            severity: n.severity,
            title: &n.title,
        }
    }
}

impl Criteria {
    /// It would hold back everything.
    pub fn is_empty(&self) -> bool {
        *self == Criteria::default()
    }

    pub fn meets(&self, subject: Subject<'_>) -> bool {
        fn one_of<T>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
            wanted.is_empty() || wanted.iter().any(is)
        }
        let service = subject.service.unwrap_or_default();
        let title = |text: &String| subject.title.to_lowercase().contains(&text.to_lowercase());
        one_of(&self.incidents, |one| *one == subject.incident)
            && one_of(&self.services, |one| one == service)
            && one_of(&self.environments, |one| one == subject.environment)
            && one_of(&self.severities, |one| *one == subject.severity)
            && self.title.as_ref().is_none_or(title)
    }
}

/// One silence, as it was declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    pub id: Uuid,
    pub criteria: Criteria,
    pub starts_at: DateTime<Utc>,
    /// It holds before this time.
    pub ends_at: DateTime<Utc>,
    /// `human:NAME`.
    pub by: String,
    /// Why, for whoever wonders.
    pub comment: String,
    pub created_at: DateTime<Utc>,
}

/// What is said about silences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SilenceFact {
    Declared {
        silence: Silence,
    },
    /// Before its time.
    Ended {
        id: Uuid,
        by: String,
        at: DateTime<Utc>,
    },
}

/// Payload of `silences` (JSON, schema 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceEvent {
    pub schema: u32,
    pub fact: SilenceFact,
}

impl SilenceEvent {
    pub const SCHEMA: u32 = 1;

    pub fn new(fact: SilenceFact) -> Self {
        let schema = SilenceEvent::SCHEMA;
        SilenceEvent { schema, fact }
    }
}

/// A silence, and how it was ended if somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub silence: Silence,
    pub ended: Option<(DateTime<Utc>, String)>,
}

/// Where a silence stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceState {
    Pending,
    Active,
    Ended,
}

impl SilenceState {
    pub fn as_str(self) -> &'static str {
        match self {
            SilenceState::Pending => "pending",
            SilenceState::Active => "active",
            SilenceState::Ended => "ended",
        }
    }
}

impl Standing {
    pub fn state(&self, now: DateTime<Utc>) -> SilenceState {
        if self.ended.is_some() || now >= self.silence.ends_at {
            SilenceState::Ended
        } else if now < self.silence.starts_at {
            SilenceState::Pending
        } else {
            SilenceState::Active
        }
    }
}

/// All silences: the facts, heard in their order. A fact that is heard twice changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Silences {
    all: BTreeMap<Uuid, Standing>,
}

impl Silences {
    pub fn hear(&mut self, fact: SilenceFact) {
        match fact {
            SilenceFact::Declared { silence } => {
                let standing = Standing { silence, ended: None };
                self.all.entry(standing.silence.id).or_insert(standing);
            }
            SilenceFact::Ended { id, by, at } => {
                if let Some(one) = self.all.get_mut(&id)
                    && one.ended.is_none()
                    && at < one.silence.ends_at
                {
                    one.ended = Some((at, by));
                }
            }
        }
    }

    /// Forgets those that were over before `time`.
    pub fn forget_before(&mut self, time: DateTime<Utc>) {
        self.all.retain(|_, one| one.silence.ends_at >= time);
    }

    pub fn get(&self, id: Uuid) -> Option<&Standing> {
        self.all.get(&id)
    }

    /// The one declared last comes first.
    pub fn newest_first(&self) -> Vec<&Standing> {
        let mut all: Vec<&Standing> = self.all.values().collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.silence.created_at));
        all
    }

    /// Those that hold back what is said about `subject` at `now`.
    pub fn over<'a>(&'a self, subject: Subject<'a>, now: DateTime<Utc>) -> impl Iterator<Item = &'a Standing> {
        let holds =
            move |one: &&Standing| one.state(now) == SilenceState::Active && one.silence.criteria.meets(subject);
        self.all.values().filter(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_478_400 + minute * 60, 0).unwrap()
    }

    fn silence(number: u128, criteria: Criteria) -> Silence {
        Silence {
            id: Uuid::from_u128(number),
            criteria,
            starts_at: at(10),
            ends_at: at(20),
            by: "human:ann".into(),
            comment: "a move".into(),
            created_at: at(0),
        }
    }

    const SUBJECT: Subject<'static> = Subject {
        incident: IncidentId(Uuid::from_u128(7)),
        service: Some("checkout"),
        environment: "prod",
        severity: Severity::Critical,
        title: "Disk full on db-1",
    };

    #[test]
    fn every_criterion_must_be_met_by_one_of_its_words() {
        let services = Criteria {
            services: vec!["api".into(), "checkout".into()],
            ..Criteria::default()
        };
        let meets = |criteria: &Criteria| criteria.meets(SUBJECT);
        assert!(meets(&services));
        for (other, wanted) in [
            (
                Criteria {
                    environments: vec!["prod".into()],
                    ..services.clone()
                },
                true,
            ),
            (
                Criteria {
                    environments: vec!["test".into()],
                    ..services.clone()
                },
                false,
            ),
            (
                Criteria {
                    severities: vec![Severity::Info],
                    ..services.clone()
                },
                false,
            ),
            (
                Criteria {
                    severities: vec![Severity::Info, Severity::Critical],
                    ..services.clone()
                },
                true,
            ),
            (
                Criteria {
                    incidents: vec![IncidentId(Uuid::from_u128(8))],
                    ..services.clone()
                },
                false,
            ),
            (
                Criteria {
                    incidents: vec![SUBJECT.incident],
                    ..Criteria::default()
                },
                true,
            ),
            (
                Criteria {
                    title: Some("DISK full".into()),
                    ..services.clone()
                },
                true,
            ),
            (
                Criteria {
                    title: Some("memory".into()),
                    ..services.clone()
                },
                false,
            ),
            (
                Criteria {
                    services: vec!["check".into()],
                    ..Criteria::default()
                },
                false,
            ),
        ] {
            assert_eq!(meets(&other), wanted, "{other:?}");
        }
        // Of no service: no service is met.
        assert!(!services.meets(Subject {
            service: None,
            ..SUBJECT
        }));
        assert!(Criteria::default().is_empty() && !services.is_empty());
    }

    #[test]
    fn it_holds_from_its_start_to_its_end_or_until_somebody_ends_it() {
        let mut all = Silences::default();
        let wide = Criteria {
            environments: vec!["prod".into()],
            ..Criteria::default()
        };
        all.hear(SilenceFact::Declared {
            silence: silence(1, wide.clone()),
        });
        let holds = |all: &Silences, minute| all.over(SUBJECT, at(minute)).count();
        assert_eq!([9, 10, 19, 20].map(|minute| holds(&all, minute)), [0, 1, 1, 0]);
        all.hear(SilenceFact::Ended {
            id: Uuid::from_u128(1),
            by: "human:bob".into(),
            at: at(15),
        });
        all.hear(SilenceFact::Ended {
            id: Uuid::from_u128(1),
            by: "human:eve".into(),
            at: at(16),
        });
        all.hear(SilenceFact::Ended {
            id: Uuid::from_u128(2),
            by: "human:eve".into(),
            at: at(16),
        });
        assert_eq!(holds(&all, 15), 0);
        let one = all.get(Uuid::from_u128(1)).unwrap();
        assert_eq!(one.ended, Some((at(15), "human:bob".into())));
        // Told again, it stays ended.
        all.hear(SilenceFact::Declared {
            silence: silence(1, wide),
        });
        assert_eq!(holds(&all, 15), 0);
        all.forget_before(at(21));
        assert!(all.newest_first().is_empty());
    }

    #[test]
    fn the_payload_reads_back() {
        let criteria = Criteria {
            title: Some("disk".into()),
            ..Criteria::default()
        };
        let event = SilenceEvent::new(SilenceFact::Declared {
            silence: silence(1, criteria),
        });
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<SilenceEvent>(&text).unwrap(), event);
        assert!(
            text.contains(r#""type":"declared""#) && !text.contains("services"),
            "{text}"
        );
    }
}
