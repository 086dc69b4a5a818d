//! Silences, as a receiver's desk keeps them: what is held back, and what is told when a silence is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use model::silence::Subject;
use model::{Notification, Status};
use uuid::Uuid;

use super::{Desk, ReceiverKind, patiently};
use crate::sql::{Silenced, StoreError};

/// How often it is looked whether a silence is over. Longer: what it held back comes later.
const LOOK: Duration = Duration::from_secs(1);
/// For how long one process has a message to itself: longer than its attempts take.
const MINE: Duration = Duration::from_secs(120);
/// After so many tries a message that nobody takes is given up.
const TRIES: i64 = 10;
/// Pause after a look that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// Knows the silences. Both wait until what was said about them before the start is known.
#[async_trait]
pub trait Quiet: Send + Sync + 'static {
    /// A silence that holds back what is said about `subject` now.
    async fn over(&self, subject: Subject<'_>) -> Option<Uuid>;

    /// Whether this silence still holds.
    async fn holds(&self, silence: Uuid) -> bool;
}

/// No silences at all.
pub struct Loud;

#[async_trait]
impl Quiet for Loud {
    async fn over(&self, _: Subject<'_>) -> Option<Uuid> {
        None
    }

    async fn holds(&self, _: Uuid) -> bool {
        false
    }
}

impl Desk {
    /// Whether a silence holds `n` back; then it is kept, as long as its incident is open.
    pub(super) async fn hold_back(&self, n: &Notification) -> Result<bool, String> {
        let silence = match self.quiet.over(n.into()).await {
            Some(silence) if !self.passes(n).await? => silence,
            _ => return Ok(false),
        };
        let receiver = self.outward.name.as_str();
        if over(n) {
            patiently(|| self.store.forget_silenced(receiver, n.incident_id)).await?;
            return Ok(true);
        }
        let now = self.clock.now().to_datetime();
        patiently(|| self.store.keep_silenced(receiver, n, silence, now)).await?;
        self.silenced.store(true, Ordering::SeqCst);
        Ok(true)
    }

    /// Once `n` was told: nothing of it waits any more.
    pub(super) async fn told(&self, n: &Notification) -> Result<(), StoreError> {
        if !self.silenced.load(Ordering::SeqCst) {
            return Ok(());
        }
        let receiver = self.outward.name.as_str();
        match over(n) {
            true => self.store.forget_silenced(receiver, n.incident_id).await,
            false => self.store.told_silenced(receiver, n).await,
        }
    }

    /// What ends a page is told in a silence as well, and so is the end of what has a message: nobody is left with an open one.
    async fn passes(&self, n: &Notification) -> Result<bool, String> {
        let receiver = self.outward.name.as_str();
        match self.outward.settings.kind {
            ReceiverKind::PagerDuty => Ok(over(n) || n.event == "acknowledged"),
            ReceiverKind::Slack if over(n) => {
                let thread = patiently(|| self.store.thread(receiver, n.incident_id)).await?;
                Ok(thread.is_some())
            }
            _ => Ok(over(n)),
        }
    }

    /// Tells what silences held back, once they are over, until this ends.
    pub(super) async fn ends_of_silences(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if !self.silenced.load(Ordering::SeqCst) {
                continue;
            }
            if let Err(detail) = self.tell_again().await {
                tracing::warn!(receiver = self.outward.name, detail, "what a silence held back waits");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn tell_again(&self) -> Result<(), String> {
        let receiver = self.outward.name.as_str();
        // Taken down before the look: what comes in the meantime puts it up again.
        self.silenced.store(false, Ordering::SeqCst);
        let waited_for = self.store.silences_waited_for(receiver).await;
        let waited_for = waited_for.inspect_err(|_| self.silenced.store(true, Ordering::SeqCst));
        for silence in waited_for.map_err(|e| e.to_string())? {
            self.silenced.store(true, Ordering::SeqCst);
            if self.quiet.holds(silence).await {
                continue;
            }
            let waiting = self.store.silenced_by(receiver, silence).await;
            for one in waiting.map_err(|e| e.to_string())? {
                self.tell_one(one).await?;
            }
        }
        Ok(())
    }

    async fn tell_one(&self, one: Silenced) -> Result<(), String> {
        let receiver = self.outward.name.as_str();
        let Silenced {
            mut notification,
            tries,
        } = one;
        if let Some(another) = self.quiet.over((&notification).into()).await {
            let handed = self.store.hand_over_silenced(receiver, &notification, another).await;
            return handed.map_err(|e| e.to_string());
        }
        let now = self.clock.now().to_datetime();
        let taken = self.store.take_silenced(receiver, &notification, now, now + MINE).await;
        if !taken.map_err(|e| e.to_string())? {
            return Ok(());
        }
        let words = "Said only now: a silence held it back.";
        notification.detail = Some(match notification.detail.take() {
            Some(detail) => format!("{detail} {words}"),
            None => words.to_owned(),
        });
        match self.traced(&notification).await {
            Ok(outcome) => {
                metrics::counter!("aegis_notify_total", "receiver" => receiver.to_owned(), "outcome" => outcome)
                    .increment(1);
                self.told(&notification).await.map_err(|e| e.to_string())
            }
            Err(detail) if tries + 1 >= TRIES => {
                let incident = notification.incident_id;
                tracing::error!(receiver, %incident, detail, "a message that a silence held back is given up");
                metrics::counter!("aegis_notify_total", "receiver" => receiver.to_owned(), "outcome" => "undelivered")
                    .increment(1);
                self.told(&notification).await.map_err(|e| e.to_string())
            }
            Err(detail) => {
                tracing::warn!(
                    receiver,
                    detail,
                    "a message that a silence held back was not taken: tried again"
                );
                Ok(())
            }
        }
    }
}

/// The incident is, with this.
fn over(n: &Notification) -> bool {
    n.status == Status::Resolved || ["resolved", "closed", "merged"].contains(&n.event.as_str())
}
