//! Silences, as facts on the log: the topic `silences`, one partition, of which every process that tells people keeps the whole.
//!
//! ```text
//!   people ─ REST, `aegis silences` ─► silences (signed) ─► desk ─┬─► notify: what is held back
//!                                                                 └─► lists
//! ```
//!
//! Whoever declares or ends one here sees it here at once: the answer waits until the fact was read back. Other processes hear of it as soon as
//! they read it. A fact that is not signed by this installation is not believed, as everywhere where somebody could profit.

mod door;

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use gateway::{OrderError, ReadError, SilenceBody, SilenceFilter, SilenceView};
use model::signing::{self, Message, Signer, Verdict};
use model::silence::{Silence, SilenceEvent, SilenceFact, SilenceState, Silences, Subject};
use model::{IncidentId, Severity, topics};
use sinks::notify::Quiet;
use sinks::sql::Store;
use stream::human::HumanDuration;
use stream::log::{NewRecord, Retention};
use stream::{Clock, Log, LogError, Offset, Record, TopicPartition, TopicSpec};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::scan::scan;

pub use door::{SilenceRequest, routes};

/// Records asked for at once, how long one wait for them is, and before the topic is tried again.
const RECORDS: usize = 1_000;
const WAIT: Duration = Duration::from_millis(500);
const AGAIN: Duration = Duration::from_secs(1);
/// How long an answer waits for its fact to be read back. The fact stands on the log whether or not.
const READ_BACK: Duration = Duration::from_secs(5);
/// The longest one. Longer: what nobody remembers hides what everybody should see.
const LONGEST: TimeDelta = TimeDelta::days(90);
/// How long those that are over are remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(30);
/// Words of one criterion, and bytes of one of them.
const WORDS: usize = 100;
const WORD: usize = 200;
/// Silences that may hold at the same time. More: every message is held against all of them.
const AT_ONCE: usize = 1_000;

/// See the module's header. Somebody must [`keep`](SilenceDesk::keep) it, or [`catch_up`](SilenceDesk::catch_up) once.
pub struct SilenceDesk {
    log: Arc<dyn Log>,
    store: Store,
    clock: Arc<dyn Clock>,
    signer: Signer,
    all: Mutex<Silences>,
    /// Up to where the topic was read; `None` until that is as far as it went at the start.
    read: watch::Sender<Option<Offset>>,
}

/// Makes the topic where it is not there.
pub async fn ensure_topic(log: &Arc<dyn Log>) -> Result<(), LogError> {
    let spec = TopicSpec {
        name: topics::SILENCES.into(),
        partitions: 1,
        retention: Retention::default(),
    };
    log.ensure_topics(&[spec]).await
}

fn place() -> TopicPartition {
    TopicPartition::new(topics::SILENCES, 0)
}

impl SilenceDesk {
    pub fn new(log: Arc<dyn Log>, store: Store, clock: Arc<dyn Clock>, signer: Signer) -> Self {
        SilenceDesk {
            log,
            store,
            clock,
            signer,
            all: Mutex::default(),
            read: watch::Sender::new(None),
        }
    }

    fn all(&self) -> MutexGuard<'_, Silences> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now().to_datetime()
    }

    /// Reads what there is, once: for a command.
    pub async fn catch_up(&self) -> Result<(), LogError> {
        let bounds = match self.log.bounds(&place()).await {
            // Of a release before there were silences.
            Err(LogError::UnknownTopic(_) | LogError::UnknownPartition(_)) => return Ok(()),
            other => other?,
        };
        scan(&self.log, &place(), bounds.start, bounds.end, |record| {
            self.hear(record);
            ControlFlow::Continue(())
        })
        .await?;
        self.read.send_replace(Some(bounds.end));
        Ok(())
    }

    /// Reads the topic, until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        let mut at = Offset(0);
        let reading = async {
            loop {
                if let Err(error) = self.follow(&mut at).await {
                    tracing::debug!(%error, "silences are read again later");
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = reading => {}
        }
    }

    async fn follow(&self, at: &mut Offset) -> Result<(), LogError> {
        let bounds = self.log.bounds(&place()).await?;
        *at = bounds.start.max(*at);
        let mut reader = self.log.reader(&place(), *at).await?;
        loop {
            if self.read.borrow().is_some() || *at >= bounds.end {
                self.read.send_replace(Some(*at));
            }
            let (records, next) = reader.read(RECORDS, WAIT).await?;
            records.iter().for_each(|record| self.hear(record));
            *at = next;
            if !records.is_empty() {
                self.all().forget_before(self.now() - REMEMBERED);
            }
        }
    }

    fn hear(&self, record: &Record) {
        if record.header(stream::progress::KIND_HEADER).is_some() {
            return;
        }
        let message = Message {
            topic: topics::SILENCES,
            key: record.key.as_deref().unwrap_or_default(),
            value: &record.value,
        };
        let header = record.header(signing::HEADER).map(|header| &**header);
        let problem = match self.signer.check(message, header) {
            Verdict::Forged(why) => why.to_owned(),
            Verdict::Authentic { .. } | Verdict::Unchecked => match serde_json::from_slice(&record.value) {
                Ok(SilenceEvent { schema, fact }) if schema <= SilenceEvent::SCHEMA => {
                    self.all().hear(fact);
                    return;
                }
                Ok(event) => format!("schema {} is of a later release", event.schema),
                Err(error) => error.to_string(),
            },
        };
        metrics::counter!("aegis_silences_refused_total").increment(1);
        tracing::warn!(
            offset = record.offset.0,
            problem,
            "a silence is not believed: people are told as without it"
        );
    }

    /// Waits until what stood on the topic at the start is known.
    async fn known(&self) {
        let mut read = self.read.subscribe();
        // The sender is this desk's own.
        let _ = read.wait_for(Option::is_some).await;
    }

    /// The same for somebody who waits for an answer.
    async fn known_soon(&self) -> Result<(), String> {
        let known = tokio::time::timeout(READ_BACK, self.known()).await;
        known.map_err(|_| "the silences on the log are still read".to_owned())
    }

    async fn say(&self, id: Uuid, fact: SilenceFact) -> Result<(), OrderError> {
        let away = |error: &dyn std::fmt::Display| OrderError::Unavailable(error.to_string());
        let value = serde_json::to_vec(&SilenceEvent::new(fact)).map_err(|e| away(&e))?;
        let key = Bytes::from(id.to_string());
        let message = Message {
            topic: topics::SILENCES,
            key: &key,
            value: &value,
        };
        let signature = self.signer.sign(message, "");
        let record = NewRecord {
            key: Some(key),
            value: value.into(),
            headers: signature.into_iter().collect(),
            timestamp: self.clock.now(),
        };
        let offset = self.log.append(&place(), vec![record]).await.map_err(|e| away(&e))?;
        let mut read = self.read.subscribe();
        let heard = read.wait_for(|read| read.is_some_and(|read| read > offset));
        let _ = tokio::time::timeout(READ_BACK, heard).await;
        Ok(())
    }

    fn view(&self, id: Uuid) -> Result<SilenceView, OrderError> {
        let all = self.all();
        let standing = all.get(id);
        let view = standing.map(|standing| SilenceView::of(standing, self.now()));
        view.ok_or_else(|| OrderError::Unavailable("it stands on the log and was not read back yet".to_owned()))
    }

    /// What somebody wants, as a silence.
    fn checked(&self, wanted: &SilenceBody, by: &str) -> Result<Silence, OrderError> {
        let invalid = |field: &'static str, why: String| OrderError::Invalid { field, why };
        let criteria = wanted.criteria();
        if criteria.is_empty() {
            let why = "name an incident, a service, an environment, a severity or words of the title: nothing is silenced as a whole";
            return Err(invalid("services", why.to_owned()));
        }
        let title: &[String] = criteria.title.as_slice();
        let lists = [
            ("services", &*criteria.services),
            ("environments", &*criteria.environments),
            ("title", title),
        ];
        for (field, words) in lists {
            if words.len() > WORDS {
                return Err(invalid(
                    field,
                    format!("it has {} words, at most {WORDS} are taken", words.len()),
                ));
            }
            let bad = words.iter().find(|word| word.trim().is_empty() || word.len() > WORD);
            if let Some(word) = bad {
                return Err(invalid(field, format!("{word:?} is empty or longer than {WORD} bytes")));
            }
        }
        if criteria.incidents.len() > WORDS {
            return Err(invalid("incidents", format!("at most {WORDS} are taken")));
        }
        let now = self.now();
        let starts_at = wanted.starts_at.unwrap_or(now).max(now);
        let ends_at = match (wanted.ends_at, &wanted.duration) {
            (Some(ends_at), None) => ends_at,
            (None, Some(text)) => {
                let duration: HumanDuration = text.parse().map_err(|error| invalid("duration", format!("{error}")))?;
                let duration = TimeDelta::from_std(duration.get()).unwrap_or(TimeDelta::MAX);
                starts_at
                    .checked_add_signed(duration)
                    .ok_or_else(|| invalid("duration", "it is too long".to_owned()))?
            }
            (None, None) => {
                return Err(invalid(
                    "duration",
                    "say how long, as `2h`, or until when with ends_at".to_owned(),
                ));
            }
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "duration",
                    "it is given beside ends_at: one of them is enough".to_owned(),
                ));
            }
        };
        let field = if wanted.duration.is_some() {
            "duration"
        } else {
            "ends_at"
        };
        if ends_at <= starts_at {
            return Err(invalid(field, "it would end before it begins".to_owned()));
        }
        if ends_at - now > LONGEST {
            return Err(invalid(
                field,
                format!("it may end {} days from now at the latest", LONGEST.num_days()),
            ));
        }
        Ok(Silence {
            id: Uuid::now_v7(),
            criteria,
            starts_at,
            ends_at,
            by: by.to_owned(),
            comment: wanted.comment.clone(),
            created_at: now,
        })
    }
}

#[async_trait]
impl gateway::Silences for SilenceDesk {
    async fn list(&self, filter: SilenceFilter) -> Result<Option<Vec<SilenceView>>, ReadError> {
        self.known_soon().await.map_err(ReadError::Unavailable)?;
        let now = self.now();
        let about = match filter.incident {
            None => None,
            Some(id) => {
                let found = self.store.incident(id.0).await;
                let found = found.map_err(|error| ReadError::Unavailable(error.to_string()))?;
                let Some(found) = found else { return Ok(None) };
                Some(found.incident)
            }
        };
        let subject = about.as_ref().map(|row| Subject {
            incident: IncidentId(row.id),
            service: row.service.as_deref(),
            environment: &row.environment,
            severity: row.severity.parse().unwrap_or(Severity::Info),
            title: &row.title,
        });
        let all = self.all();
        let wanted = all.newest_first().into_iter().filter(|standing| match subject {
            Some(subject) => standing.state(now) == SilenceState::Active && standing.silence.criteria.meets(subject),
            None => filter.all || standing.state(now) != SilenceState::Ended,
        });
        Ok(Some(wanted.map(|standing| SilenceView::of(standing, now)).collect()))
    }

    async fn declare(&self, wanted: SilenceBody, by: &str) -> Result<SilenceView, OrderError> {
        let silence = self.checked(&wanted, by)?;
        self.known_soon().await.map_err(OrderError::Unavailable)?;
        let now = self.now();
        let standing = self
            .all()
            .newest_first()
            .iter()
            .filter(|one| one.state(now) != SilenceState::Ended)
            .count();
        if standing >= AT_ONCE {
            return Err(OrderError::Conflict(format!(
                "there are {standing} silences: end some first"
            )));
        }
        let id = silence.id;
        self.say(id, SilenceFact::Declared { silence }).await?;
        self.view(id)
    }

    async fn end(&self, id: Uuid, by: &str) -> Result<SilenceView, OrderError> {
        self.known_soon().await.map_err(OrderError::Unavailable)?;
        let at = self.now();
        match self.all().get(id).map(|standing| standing.state(at)) {
            None => return Err(OrderError::NotFound(format!("silence {id}"))),
            Some(SilenceState::Ended) => return Err(OrderError::Conflict("it has ended already".to_owned())),
            Some(SilenceState::Pending | SilenceState::Active) => {}
        }
        let by = by.to_owned();
        self.say(id, SilenceFact::Ended { id, by, at }).await?;
        self.view(id)
    }
}

#[async_trait]
impl Quiet for SilenceDesk {
    async fn over(&self, subject: Subject<'_>) -> Option<Uuid> {
        self.known().await;
        let now = self.now();
        self.all().over(subject, now).next().map(|standing| standing.silence.id)
    }

    async fn holds(&self, silence: Uuid) -> bool {
        self.known().await;
        let now = self.now();
        self.all()
            .get(silence)
            .is_some_and(|standing| standing.state(now) == SilenceState::Active)
    }
}

#[cfg(test)]
mod tests;
