//! What receivers were not told because of a silence: the newest word about each matter. Written by [`crate::notify`].

use chrono::{DateTime, Utc};
use model::{IncidentId, Notification};
use uuid::Uuid;

use super::error::StoreError;
use super::store::Store;
use super::value::Value;

/// A notification that waits for a silence to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silenced {
    pub notification: Notification,
    /// How often somebody began to tell it.
    pub tries: i64,
}

/// An older word than what is there (a record that is read again) changes nothing.
const KEEP: &str = "INSERT INTO notify_silenced (receiver, incident_id, about, revision, silence_id, notification, at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (receiver, incident_id, about) DO UPDATE SET \
    revision = excluded.revision, silence_id = excluded.silence_id, notification = excluded.notification, at = excluded.at \
    WHERE excluded.revision >= notify_silenced.revision";
const FORGET: &str = "DELETE FROM notify_silenced WHERE receiver = $1 AND incident_id = $2";
const FORGET_ONE: &str =
    "DELETE FROM notify_silenced WHERE receiver = $1 AND incident_id = $2 AND about = $3 AND revision <= $4";
const HAND_OVER: &str =
    "UPDATE notify_silenced SET silence_id = $4 WHERE receiver = $1 AND incident_id = $2 AND about = $3";
const TAKE: &str = "UPDATE notify_silenced SET taken_until = $5, tries = tries + 1 \
    WHERE receiver = $1 AND incident_id = $2 AND about = $3 AND (taken_until IS NULL OR taken_until < $4)";

/// What a notification is about: one of the incident's remediations, or the incident itself.
fn about(notification: &Notification) -> Uuid {
    notification.remediation.unwrap_or_else(Uuid::nil)
}

fn key(receiver: &str, notification: &Notification) -> [Value; 3] {
    [
        Value::text(receiver),
        Value::Uuid(notification.incident_id.0),
        Value::Uuid(about(notification)),
    ]
}

impl Store {
    /// Keeps a notification that `silence` holds back.
    pub async fn keep_silenced(
        &self,
        receiver: &str,
        notification: &Notification,
        silence: Uuid,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(notification).unwrap_or_default();
        let [receiver, incident, about] = key(receiver, notification);
        let args = [
            receiver,
            incident,
            about,
            Value::Int(notification.revision as i64),
            Value::Uuid(silence),
            Value::text(&text),
            Value::Time(at),
        ];
        self.change("notify_silenced", KEEP, &args).await.map(|_| ())
    }

    /// Everything about the incident: it is over.
    pub async fn forget_silenced(&self, receiver: &str, incident: IncidentId) -> Result<(), StoreError> {
        let args = [Value::text(receiver), Value::Uuid(incident.0)];
        self.change("notify_silenced", FORGET, &args).await.map(|_| ())
    }

    /// What is not newer than `notification`, about the same: it was told.
    pub async fn told_silenced(&self, receiver: &str, notification: &Notification) -> Result<(), StoreError> {
        let [receiver, incident, about] = key(receiver, notification);
        let args = [receiver, incident, about, Value::Int(notification.revision as i64)];
        self.change("notify_silenced", FORGET_ONE, &args).await.map(|_| ())
    }

    /// The silences for which something waits.
    pub async fn silences_waited_for(&self, receiver: &str) -> Result<Vec<Uuid>, StoreError> {
        let sql = "SELECT DISTINCT silence_id FROM notify_silenced WHERE receiver = $1";
        let rows = self
            .query("reading notify_silenced", sql, &[Value::text(receiver)])
            .await?;
        rows.iter().map(|row| row.uuid("silence_id")).collect()
    }

    /// What waits for `silence`, oldest first, a few at a time.
    pub async fn silenced_by(&self, receiver: &str, silence: Uuid) -> Result<Vec<Silenced>, StoreError> {
        let sql = "SELECT notification, tries FROM notify_silenced WHERE receiver = $1 AND silence_id = $2 \
                   ORDER BY tries, at, incident_id LIMIT 200";
        let args = [Value::text(receiver), Value::Uuid(silence)];
        let rows = self.query("reading notify_silenced", sql, &args).await?;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            // Written by this program, so it reads back; one that does not is of a later release and waits for it.
            if let Ok(notification) = serde_json::from_str(&row.text("notification")?) {
                let tries = row.int("tries")?;
                all.push(Silenced { notification, tries });
            }
        }
        Ok(all)
    }

    /// Another silence holds it now.
    pub async fn hand_over_silenced(
        &self,
        receiver: &str,
        notification: &Notification,
        silence: Uuid,
    ) -> Result<(), StoreError> {
        let [receiver, incident, about] = key(receiver, notification);
        let args = [receiver, incident, about, Value::Uuid(silence)];
        self.change("notify_silenced", HAND_OVER, &args).await.map(|_| ())
    }

    /// Whether it is this caller's to tell, until `until`: of several processes one gets it.
    pub async fn take_silenced(
        &self,
        receiver: &str,
        notification: &Notification,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let [receiver, incident, about] = key(receiver, notification);
        let args = [receiver, incident, about, Value::Time(now), Value::Time(until)];
        Ok(self.change("notify_silenced", TAKE, &args).await? == 1)
    }
}
