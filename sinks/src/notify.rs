//! Notify: topic `notifications` → Slack, PagerDuty, webhooks. One worker per receiver, with a position of its own: a receiver that is
//! down holds up nobody else.
//!
//! It guarantees, per receiver:
//!
//! * one message per incident on Slack, changed in place, with a line below it per fact; PagerDuty and webhooks hear each fact once;
//! * at least once: what was sent is remembered (`notify_deliveries`) right after, so a crash in between, or an answer that got lost,
//!   sends again. PagerDuty's `dedup_key`, an update in place and the notification's `id` make the second one harmless. A message or a
//!   line on Slack is written down before it is sent (`notify_attempts`) and looked for before it is sent again (`slack`): it stands once, as
//!   long as the channel can be read;
//! * facts of one incident in their order;
//! * at most `per_minute` messages a minute. What is over is held in the store and told in one summary when the minute is over, also
//!   after a restart. What waits for an answer, and what ends a page, is never held.
//!
//! While a silence holds, what is said about the incidents it names is kept in the store, the newest word about each matter
//! (`notify_silenced`), and told when no silence holds it any more and the incident is still open. What ends a page or a message that was
//! sent goes out all the same.
//!
//! A message that is not taken within `attempts` tries is a dead letter of stage `sink.notify-NAME`, from where it can be replayed to this
//! receiver alone; while a receiver is down each further message is tried once. The count of messages is in memory and per process.

mod card;
mod client;
mod outward;
mod quiet;
mod settings;
mod slack;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use model::trace::{delivery, notification, trace_of};
use model::{IncidentId, Notification, topics};
use stream::log::Topic;
use stream::trace::{self, Span, SpanKind, TraceContext};
use stream::{Clock, Record, TopicPartition, failpoint};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use uuid::Uuid;

pub use card::escaped;
pub use client::{Failed, Http};
pub use outward::signature;
pub use quiet::{Loud, Quiet};
pub use settings::{NotifySettings, ReceiverKind, ReceiverSettings, RouteSettings};

use crate::sql::{Store, StoreError, Thread};
use crate::worker::{Answer, NotTaken, Say, Work};
use card::Card;
use outward::Outward;
use slack::Begun;

/// How often it is looked whether a storm's minute is over.
const LOOK: Duration = Duration::from_millis(500);
/// Pause after a summary that was not taken.
const SUMMARY_PAUSE: Duration = Duration::from_secs(15);

/// The worker of one receiver.
pub struct Notify {
    name: String,
    desk: Arc<Desk>,
    settings: NotifySettings,
    /// Tells summaries, and what silences held back; ends with this.
    _summaries: JoinSet<()>,
}

struct Desk {
    outward: Outward,
    store: Store,
    clock: Arc<dyn Clock>,
    quiet: Arc<dyn Quiet>,
    /// Held while a message is sent: one at a time, in order.
    turn: Mutex<Turn>,
    /// Something may wait for a summary.
    held: AtomicBool,
    /// Something may wait for a silence to end.
    silenced: AtomicBool,
}

#[derive(Default)]
struct Turn {
    minute: i64,
    sent: u32,
    /// The last message was not taken.
    down: bool,
}

impl Notify {
    /// The workers of all receivers of `settings`; `quiet` knows the silences.
    pub fn all(
        settings: &NotifySettings,
        store: &Store,
        clock: &Arc<dyn Clock>,
        quiet: &Arc<dyn Quiet>,
    ) -> Result<Vec<Notify>, String> {
        let http = Http::new()?;
        let mut all = Vec::new();
        for (name, receiver) in &settings.receivers {
            let desk = Arc::new(Desk {
                outward: Outward {
                    name: name.clone(),
                    settings: receiver.clone(),
                    http: http.clone(),
                },
                store: store.clone(),
                clock: clock.clone(),
                quiet: quiet.clone(),
                turn: Mutex::default(),
                // Of the run before.
                held: AtomicBool::new(true),
                silenced: AtomicBool::new(true),
            });
            let mut summaries = JoinSet::new();
            summaries.spawn(desk.clone().summaries());
            summaries.spawn(desk.clone().ends_of_silences());
            all.push(Notify {
                name: format!("notify-{name}"),
                desk,
                settings: settings.clone(),
                _summaries: summaries,
            });
        }
        Ok(all)
    }
}

#[async_trait]
impl Work for Notify {
    /// A message is sent while its record is taken, because a receiver hears one after the other.
    type Task = std::convert::Infallible;

    fn name(&self) -> &str {
        &self.name
    }

    fn topics(&self) -> Vec<Topic> {
        vec![topics::NOTIFICATIONS.into()]
    }

    async fn take(&self, _: &TopicPartition, record: &Record) -> Result<Option<Self::Task>, NotTaken> {
        let n: Notification = serde_json::from_slice(&record.value).map_err(NotTaken::undecodable)?;
        let receiver = self.desk.outward.name.clone();
        let outcome = if !self.settings.tells(&receiver, &n) {
            return Ok(None);
        } else if self.desk.age(&n) > self.settings.fresh_within.get() {
            Ok("stale")
        } else {
            match self.desk.hold_back(&n).await {
                Ok(true) => Ok("silenced"),
                Ok(false) => self.desk.traced(&n).await,
                Err(detail) => Err(detail),
            }
        };
        let word = match &outcome {
            Ok(word) => word,
            Err(_) => "undelivered",
        };
        metrics::counter!("aegis_notify_total", "receiver" => receiver.clone(), "outcome" => word).increment(1);
        match outcome {
            Ok(_) => Ok(None),
            Err(detail) => Err(NotTaken::Refused {
                reason: "undelivered",
                detail: format!("receiver {receiver}: {detail}"),
            }),
        }
    }

    async fn work(&self, task: Self::Task, _: &Say) -> Vec<Answer> {
        match task {}
    }
}

impl Desk {
    fn age(&self, n: &Notification) -> Duration {
        let age = self.clock.now().0.saturating_sub(n.at.timestamp_micros());
        Duration::from_micros(u64::try_from(age).unwrap_or(0))
    }

    fn minute(&self) -> i64 {
        self.clock.now().0.div_euclid(60_000_000)
    }

    /// [`Desk::deliver`], told as a span below that of the notification.
    async fn traced(&self, n: &Notification) -> Result<&'static str, String> {
        let receiver = self.outward.name.as_str();
        let ids = (trace_of(n.incident_id), delivery(n.id, receiver));
        let context = TraceContext::about(n.incident_id.0, ids.0, ids.1);
        let began = self.clock.now();
        let outcome = trace::within(context, async {
            let outcome = self.deliver(n).await;
            if outcome == Ok("sent") {
                tracing::info!(receiver, event = n.event, "notification sent");
            }
            outcome
        })
        .await;
        // One that is held goes out in a summary of many; one that is known was told when it was sent.
        if context.sampled && !matches!(outcome, Ok("held" | "known")) {
            let mut span = Span::at(ids.0, ids.1, "deliver", began)
                .under(notification(n.id))
                .of_kind(SpanKind::Client)
                .with("aegis.receiver", receiver)
                .with(
                    "aegis.receiver.kind",
                    format!("{:?}", self.outward.settings.kind).to_lowercase(),
                )
                .with("aegis.notification", n.id.to_string());
            span.ended_at = self.clock.now();
            span.error = outcome.clone().err();
            trace::record(span);
        }
        outcome
    }

    /// What became of it: `sent`, `held`, or `known` when the receiver has had it.
    async fn deliver(&self, n: &Notification) -> Result<&'static str, String> {
        let receiver = self.outward.name.as_str();
        let mut turn = self.turn.lock().await;
        if patiently(|| self.store.delivery(receiver, n.id)).await?.is_some() {
            return Ok("known");
        }
        let minute = self.minute();
        if turn.minute != minute {
            (turn.minute, turn.sent) = (minute, 0);
        }
        if turn.sent >= self.outward.settings.per_minute && self.may_wait(n) {
            let line = format!("{} ({}): {}", n.title, n.severity.as_str(), card::told(n));
            patiently(|| self.save(n, "held", &line)).await?;
            self.held.store(true, Ordering::SeqCst);
            return Ok("held");
        }
        let attempts = if turn.down { 1 } else { self.outward.settings.attempts };
        failpoint::hit_by("notify.before", receiver);
        let sent = self.send(n, attempts).await;
        turn.down = matches!(sent, Err(Sending::Failed(Failed::Later { .. })));
        match sent {
            Ok(()) => {}
            Err(Sending::Failed(failed)) => return Err(failed.detail().to_owned()),
            Err(Sending::Store(error)) => return Err(error),
        }
        turn.sent += 1;
        patiently(|| self.save(n, "sent", "")).await?;
        patiently(|| self.told(n)).await?;
        failpoint::hit_by("notify.after", receiver);
        Ok("sent")
    }

    /// Whether it may be told in a summary.
    fn may_wait(&self, n: &Notification) -> bool {
        let ends = ["resolved", "closed", "merged", "acknowledged"].contains(&n.event.as_str());
        let page = self.outward.settings.kind == ReceiverKind::PagerDuty;
        n.event != "remediation_waiting" && !(page && ends)
    }

    async fn send(&self, n: &Notification, attempts: u32) -> Result<(), Sending> {
        if self.outward.settings.kind != ReceiverKind::Slack {
            return self.outward.tell(n, attempts).await.map_err(Sending::Failed);
        }
        let receiver = self.outward.name.as_str();
        let now = self.clock.now().to_datetime();
        let thread = patiently(|| self.store.thread(receiver, n.incident_id)).await;
        let thread = thread.map_err(Sending::Store)?;
        let nonce = match (n.remediation, &n.plan_hash) {
            (Some(remediation), Some(hash)) if n.event == "remediation_waiting" => {
                let fresh = Uuid::new_v4();
                let made = patiently(|| self.store.button_for(receiver, remediation, hash, fresh, now)).await;
                Some(made.map_err(Sending::Store)?)
            }
            _ => None,
        };
        let begun = patiently(|| self.store.begin_message(receiver, n.incident_id, n.id, now));
        let (before, again) = begun.await.map_err(Sending::Store)?;
        let begun = Begun { before, again, now };
        // A card of another program is written anew.
        let known = thread
            .as_ref()
            .and_then(|thread| serde_json::from_value(thread.card.clone()).ok());
        let card = Card::after(known, n, nonce);
        let message = self.outward.message(n, &card, thread.as_ref(), begun, attempts);
        let stands = message.await.map_err(Sending::Failed)?;
        failpoint::hit_by("notify.posted", receiver);
        let message = Thread {
            card: serde_json::to_value(&card).unwrap_or_default(),
            ..stands.thread
        };
        patiently(|| self.store.save_thread(receiver, n.incident_id, &message, now))
            .await
            .map_err(Sending::Store)?;
        if !stands.whole {
            let reply = self.outward.reply(n, &message, begun, attempts);
            reply.await.map_err(Sending::Failed)?;
            failpoint::hit_by("notify.replied", receiver);
        }
        Ok(())
    }

    async fn save(&self, n: &Notification, outcome: &str, line: &str) -> Result<(), StoreError> {
        let now = self.clock.now().to_datetime();
        self.store
            .save_delivery(&self.outward.name, n, outcome, line, now)
            .await
    }

    /// Tells what is held, once its minute is over, until this ends.
    async fn summaries(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if !self.held.load(Ordering::SeqCst) {
                continue;
            }
            let turn = self.turn.lock().await;
            let minute = self.minute();
            if turn.minute == minute {
                continue;
            }
            let told = self.summary().await;
            drop(turn);
            if let Err(detail) = told {
                tracing::warn!(receiver = self.outward.name, detail, "the summary of a storm waits");
                tokio::time::sleep(SUMMARY_PAUSE).await;
            }
        }
    }

    /// How many notifications a summary speaks of that stands at Slack already, from an attempt that did not end. Notes that one begins.
    async fn summary_told(&self, first: Uuid) -> Result<Option<usize>, String> {
        if self.outward.settings.kind != ReceiverKind::Slack {
            return Ok(None);
        }
        let (receiver, now) = (self.outward.name.as_str(), self.clock.now().to_datetime());
        let begun = self.store.begin_message(receiver, NO_INCIDENT, first, now).await;
        let (before, again) = begun.map_err(|e| e.to_string())?;
        if !again {
            return Ok(None);
        }
        Ok(self.outward.find_summary(first, before.unwrap_or(now)).await)
    }

    async fn summary(&self) -> Result<(), String> {
        let receiver = self.outward.name.as_str();
        let held = self.store.held(receiver).await.map_err(|e| e.to_string())?;
        if let Some(first) = held.first() {
            if let Some(told) = self.summary_told(first.notification).await? {
                // What has come since then is for the next one.
                let summarised = self.store.summarised(receiver, &held[..told.min(held.len())]).await;
                return summarised.map_err(|e| e.to_string());
            }
            let told = self.outward.summary(&held).await;
            told.map_err(|failed| failed.detail().to_owned())?;
            let summarised = self.store.summarised(receiver, &held).await;
            summarised.map_err(|e| e.to_string())?;
            metrics::counter!("aegis_notify_summaries_total", "receiver" => receiver.to_owned()).increment(1);
        }
        self.held.store(false, Ordering::SeqCst);
        Ok(())
    }
}

/// Attempts at summaries are of no incident.
const NO_INCIDENT: IncidentId = IncidentId(Uuid::nil());

enum Sending {
    Failed(Failed),
    Store(String),
}

/// Waits for a store that is away: a message is not lost for want of it.
async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(mut ask: impl FnMut() -> F) -> Result<T, String> {
    let mut wait = Duration::from_millis(100);
    loop {
        match ask().await {
            Err(StoreError::Unavailable { doing, cause }) => {
                tracing::warn!(doing, cause, "the store is away: the message waits");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(5));
            }
            other => return other.map_err(|e| e.to_string()),
        }
    }
}
