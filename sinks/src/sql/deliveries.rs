//! What was told to whom: messages, deliveries and buttons. Written by [`crate::notify`], one row at a time.

use chrono::{DateTime, Utc};
use model::{IncidentId, Notification};
use uuid::Uuid;

use super::error::StoreError;
use super::store::{Dialects, Store};
use super::value::Value;

/// The message of an incident at a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Thread {
    pub channel: String,
    pub ts: String,
    pub card: serde_json::Value,
}

/// A notification that waits for a storm's summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub notification: Uuid,
    pub severity: String,
    pub line: String,
}

/// What a pair of buttons is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    pub nonce: Uuid,
    pub remediation: Uuid,
    pub plan_hash: String,
    pub used: bool,
}

/// The dialects differ in the type of JSON.
const SAVE_THREAD: Dialects = Dialects {
    sqlite: "INSERT INTO notify_threads (receiver, incident_id, channel, ts, card, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (receiver, incident_id) DO UPDATE SET \
        channel = excluded.channel, ts = excluded.ts, card = excluded.card, updated_at = excluded.updated_at",
    postgres: "INSERT INTO notify_threads (receiver, incident_id, channel, ts, card, updated_at) \
        VALUES ($1, $2, $3, $4, $5::jsonb, $6) ON CONFLICT (receiver, incident_id) DO UPDATE SET \
        channel = excluded.channel, ts = excluded.ts, card = excluded.card, updated_at = excluded.updated_at",
};
const SAVE_DELIVERY: &str = "INSERT INTO notify_deliveries (receiver, notification_id, outcome, severity, line, at) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (receiver, notification_id) DO UPDATE SET outcome = excluded.outcome";
const BEGIN: &str = "INSERT INTO notify_attempts (receiver, notification_id, incident_id, at) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (receiver, notification_id) DO NOTHING";
const ENDED: &str = "DELETE FROM notify_attempts WHERE receiver = $1 AND notification_id = $2";
const SUMMARISED: &str = "UPDATE notify_deliveries SET outcome = 'summarised' \
    WHERE receiver = $1 AND notification_id = $2 AND outcome = 'held'";
const MAKE_BUTTON: &str = "INSERT INTO notify_buttons (nonce, receiver, remediation_id, plan_hash, made_at) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (receiver, remediation_id) DO NOTHING";
const USE_BUTTON: &str = "UPDATE notify_buttons SET used_at = $2, used_by = $3 WHERE nonce = $1 AND used_at IS NULL";
const FREE_BUTTON: &str = "UPDATE notify_buttons SET used_at = NULL, used_by = NULL WHERE nonce = $1";

impl Store {
    pub async fn thread(&self, receiver: &str, incident: IncidentId) -> Result<Option<Thread>, StoreError> {
        let sql = "SELECT channel, ts, card FROM notify_threads WHERE receiver = $1 AND incident_id = $2";
        let args = [Value::text(receiver), Value::Uuid(incident.0)];
        let rows = self.query("reading notify_threads", sql, &args).await?;
        let row = rows.first().map(|row| {
            Ok(Thread {
                channel: row.text("channel")?,
                ts: row.text("ts")?,
                card: row.json("card")?,
            })
        });
        row.transpose()
    }

    pub async fn save_thread(
        &self,
        receiver: &str,
        incident: IncidentId,
        thread: &Thread,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let args = [
            Value::text(receiver),
            Value::Uuid(incident.0),
            Value::text(&thread.channel),
            Value::text(&thread.ts),
            Value::json(&thread.card.to_string()),
            Value::Time(at),
        ];
        let mut tx = self.begin().await?;
        let sql = tx.pick(SAVE_THREAD);
        tx.execute("notify_threads", sql, &args).await?;
        tx.commit().await
    }

    /// Notes that a message is about to be sent. When the first attempt about the incident began that did not end, if there is one, and
    /// whether one at this notification is among them.
    pub async fn begin_message(
        &self,
        receiver: &str,
        incident: IncidentId,
        notification: Uuid,
        at: DateTime<Utc>,
    ) -> Result<(Option<DateTime<Utc>>, bool), StoreError> {
        let sql =
            "SELECT notification_id, at FROM notify_attempts WHERE receiver = $1 AND incident_id = $2 ORDER BY at";
        let args = [Value::text(receiver), Value::Uuid(incident.0)];
        let rows = self.query("reading notify_attempts", sql, &args).await?;
        let first = rows.first().map(|row| row.time("at")).transpose()?;
        let mut again = false;
        for row in &rows {
            again |= row.uuid("notification_id")? == notification;
        }
        let args = [
            Value::text(receiver),
            Value::Uuid(notification),
            Value::Uuid(incident.0),
            Value::Time(at),
        ];
        self.change("notify_attempts", BEGIN, &args).await?;
        Ok((first, again))
    }

    /// `sent`, `held` or `summarised`, if `receiver` has had this notification or is to have it.
    pub async fn delivery(&self, receiver: &str, notification: Uuid) -> Result<Option<String>, StoreError> {
        let sql = "SELECT outcome FROM notify_deliveries WHERE receiver = $1 AND notification_id = $2";
        let args = [Value::text(receiver), Value::Uuid(notification)];
        let rows = self.query("reading notify_deliveries", sql, &args).await?;
        rows.first().map(|row| row.text("outcome")).transpose()
    }

    pub async fn save_delivery(
        &self,
        receiver: &str,
        notification: &Notification,
        outcome: &str,
        line: &str,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let args = [
            Value::text(receiver),
            Value::Uuid(notification.id),
            Value::text(outcome),
            Value::text(notification.severity.as_str()),
            Value::text(line),
            Value::Time(at),
        ];
        let mut tx = self.begin().await?;
        tx.execute("notify_deliveries", SAVE_DELIVERY, &args).await?;
        tx.execute("notify_attempts", ENDED, &args[..2]).await?;
        tx.commit().await
    }

    /// What waits for a summary, oldest first.
    pub async fn held(&self, receiver: &str) -> Result<Vec<Held>, StoreError> {
        let sql = "SELECT notification_id, severity, line FROM notify_deliveries \
                   WHERE outcome = 'held' AND receiver = $1 ORDER BY at, notification_id LIMIT 10000";
        let rows = self
            .query("reading notify_deliveries", sql, &[Value::text(receiver)])
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Held {
                    notification: row.uuid("notification_id")?,
                    severity: row.text("severity")?,
                    line: row.text("line")?,
                })
            })
            .collect()
    }

    /// The summary that names `held` was sent.
    pub async fn summarised(&self, receiver: &str, held: &[Held]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for one in held {
            let args = [Value::text(receiver), Value::Uuid(one.notification)];
            tx.execute("notify_deliveries", SUMMARISED, &args).await?;
            tx.execute("notify_attempts", ENDED, &args).await?;
        }
        tx.commit().await
    }

    /// The nonce of a remediation's buttons at `receiver`: `fresh`, unless there is one already.
    pub async fn button_for(
        &self,
        receiver: &str,
        remediation: Uuid,
        plan_hash: &str,
        fresh: Uuid,
        at: DateTime<Utc>,
    ) -> Result<Uuid, StoreError> {
        let args = [
            Value::Uuid(fresh),
            Value::text(receiver),
            Value::Uuid(remediation),
            Value::text(plan_hash),
            Value::Time(at),
        ];
        self.change("notify_buttons", MAKE_BUTTON, &args).await?;
        let sql = "SELECT nonce FROM notify_buttons WHERE receiver = $1 AND remediation_id = $2";
        let args = [Value::text(receiver), Value::Uuid(remediation)];
        let rows = self.query("reading notify_buttons", sql, &args).await?;
        rows.first().map_or(Ok(fresh), |row| row.uuid("nonce"))
    }

    pub async fn button(&self, nonce: Uuid) -> Result<Option<Button>, StoreError> {
        let sql = "SELECT nonce, remediation_id, plan_hash, used_by FROM notify_buttons WHERE nonce = $1";
        let rows = self.query("reading notify_buttons", sql, &[Value::Uuid(nonce)]).await?;
        let row = rows.first().map(|row| {
            Ok(Button {
                nonce: row.uuid("nonce")?,
                remediation: row.uuid("remediation_id")?,
                plan_hash: row.text("plan_hash")?,
                used: row.opt_text("used_by")?.is_some(),
            })
        });
        row.transpose()
    }

    /// Takes the one use of a pair of buttons; `false` when it was taken.
    pub async fn use_button(&self, nonce: Uuid, by: &str, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let args = [Value::Uuid(nonce), Value::Time(at), Value::text(by)];
        Ok(self.change("notify_buttons", USE_BUTTON, &args).await? == 1)
    }

    /// Gives the use back: the order could not be given.
    pub async fn free_button(&self, nonce: Uuid) -> Result<(), StoreError> {
        self.change("notify_buttons", FREE_BUTTON, &[Value::Uuid(nonce)])
            .await
            .map(|_| ())
    }

    pub(super) async fn change(&self, doing: &str, sql: &'static str, args: &[Value]) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let changed = tx.execute(doing, sql, args).await?;
        tx.commit().await?;
        Ok(changed)
    }
}
