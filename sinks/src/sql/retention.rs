//! Forgets rows that are older than the settings say. Without settings nothing is ever forgotten.
//!
//! The same on every store: whoever owns the sink looks once an hour, and deletes a few thousand rows at a time, so that writers wait
//! for none of it. With TimescaleDB whole chunks are dropped instead, so rows stay until the newest of their chunk is old enough. It is
//! no policy of TimescaleDB, because the settings of Aegis are then the one place that says what is kept, under either licence.
//!
//! Rollups outlive the rows that they count, until their own settings forget them. Continuous aggregates are told not to look back
//! behind the rows' retention: a refresh of that time would count what is there no more.
//!
//! Not here: incidents, members, letters and messages, which stay.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stream::human::HumanDuration;

use super::error::StoreError;
use super::fences::Fence;
use super::rollups::{GRAINS, ROLLUPS};
use super::store::Store;
use super::value::Value;

/// How long rows are kept, by table. What is not set is kept for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// Rows of `signals`, by the time of the event.
    pub signals: Option<HumanDuration>,
    /// Rows of `incident_events`: the history of incidents, also of those that are open. The incidents stay.
    pub incident_events: Option<HumanDuration>,
    /// Rows of `agent_executions`.
    pub agent_executions: Option<HumanDuration>,
    /// Rows of `remediations`.
    pub remediations: Option<HumanDuration>,
    /// Rows of `pipeline_metrics`.
    pub pipeline_metrics: Option<HumanDuration>,
    /// Counts by minute.
    pub by_minute: Option<HumanDuration>,
    /// Counts by hour.
    pub by_hour: Option<HumanDuration>,
    /// Counts by day.
    pub by_day: Option<HumanDuration>,
}

/// Rows that one statement deletes. Higher: writers wait longer; lower: more statements.
const BATCH: u32 = 5_000;

/// What was forgotten: rows, or chunks where the table is divided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgotten {
    pub table: String,
    pub count: u64,
}

impl RetentionSettings {
    /// Table, its time, and how long its rows are kept.
    fn tables(&self) -> Vec<(String, &'static str, HumanDuration)> {
        let of = |table: &str| match table {
            "signals" => self.signals,
            "incident_events" => self.incident_events,
            "agent_executions" => self.agent_executions,
            "remediations" => self.remediations,
            _ => self.pipeline_metrics,
        };
        let grains = [self.by_minute, self.by_hour, self.by_day];
        let rows = ROLLUPS
            .iter()
            .filter_map(|rollup| Some((rollup.table.to_owned(), rollup.time, of(rollup.table)?)));
        let counts = ROLLUPS.iter().flat_map(|rollup| {
            let named = GRAINS.iter().zip(grains);
            named.filter_map(|((grain, _), kept)| Some((rollup.named(grain), "bucket", kept?)))
        });
        rows.chain(counts).collect()
    }
}

const DIVIDED: &str = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') AS installed";
/// Of a refresh policy, only where it looks further back.
const LOOK_BACK: &str = "SELECT CAST(alter_job(j.job_id, config => jsonb_set(j.config, '{start_offset}', to_jsonb($2::text))) AS TEXT) AS done
    FROM timescaledb_information.jobs j
    WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND j.hypertable_schema = current_schema()
      AND j.hypertable_name = $1 AND (j.config ->> 'start_offset' IS NULL OR (j.config ->> 'start_offset')::interval > $2::interval)";

impl Store {
    /// Forgets what is older at `now` than the settings say. An error leaves the rest for the next time.
    pub async fn forget(&self, settings: &RetentionSettings, now: DateTime<Utc>) -> Result<Vec<Forgotten>, StoreError> {
        self.forget_behind(settings, now, None).await
    }

    /// The same, as a job of one instance: each transaction looks at the fence first, and the first that finds itself overtaken ends it.
    pub async fn forget_behind(
        &self,
        settings: &RetentionSettings,
        now: DateTime<Utc>,
        fence: Option<&Fence>,
    ) -> Result<Vec<Forgotten>, StoreError> {
        let tables = settings.tables();
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let divided = match self {
            Store::Sqlite(_) => false,
            Store::Postgres(_) => {
                let rows = self.query("looking for TimescaleDB", DIVIDED, &[]).await?;
                rows.first().is_some_and(|row| row.bool("installed").unwrap_or(false))
            }
        };
        let mut forgotten = Vec::new();
        for (table, time, kept) in tables {
            let kept = chrono::TimeDelta::from_std(kept.get()).unwrap_or(chrono::TimeDelta::MAX);
            let Some(before) = now.checked_sub_signed(kept) else {
                continue;
            };
            let count = match divided && self.holds_chunks(&table).await? {
                true => self.drop_chunks(&table, kept, before, fence).await?,
                false => self.delete_batches(&table, time, before, fence).await?,
            };
            if count > 0 {
                forgotten.push(Forgotten { table, count });
            }
        }
        Ok(forgotten)
    }

    /// Whether `table` is a hypertable or a continuous aggregate.
    async fn holds_chunks(&self, table: &str) -> Result<bool, StoreError> {
        let sql = "SELECT (SELECT relkind = 'v' FROM pg_class WHERE oid = to_regclass($1)) OR EXISTS (
                SELECT FROM timescaledb_information.hypertables
                WHERE hypertable_schema = current_schema() AND hypertable_name = $1) AS divided";
        let rows = self.query("looking for chunks", sql, &[Value::text(table)]).await?;
        rows.first().map_or(Ok(false), |row| row.bool("divided"))
    }

    async fn drop_chunks(
        &self,
        table: &str,
        kept: chrono::TimeDelta,
        before: DateTime<Utc>,
        fence: Option<&Fence>,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        if let Some(fence) = fence {
            tx.stands_behind(fence).await?;
        }
        for rollup in ROLLUPS.iter().filter(|rollup| rollup.table == table) {
            for (grain, length) in GRAINS {
                // A bucket that is cut by the edge would be counted from what is left of it.
                let micros = kept
                    .num_microseconds()
                    .unwrap_or(i64::MAX)
                    .saturating_sub(length)
                    .max(length);
                let back = format!("{} seconds", micros / 1_000_000);
                let args = [Value::text(&rollup.named(grain)), Value::text(&back)];
                tx.query("bounding a refresh", LOOK_BACK, &args).await?;
            }
        }
        let sql = "SELECT CAST(drop_chunks(to_regclass($1), older_than => $2::timestamptz) AS TEXT) AS chunk";
        let dropped = tx
            .query("dropping chunks", sql, &[Value::text(table), Value::Time(before)])
            .await?;
        tx.commit().await?;
        Ok(dropped.len() as u64)
    }

    async fn delete_batches(
        &self,
        table: &str,
        time: &str,
        before: DateTime<Utc>,
        fence: Option<&Fence>,
    ) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            // The oldest of them; more of the same instant go along.
            let edge = format!(
                "SELECT MAX(at) AS edge FROM (SELECT {time} AS at FROM {table} WHERE {time} < $1 ORDER BY {time} LIMIT {BATCH}) oldest"
            );
            let rows = self.query(table, &edge, &[Value::Time(before)]).await?;
            let Some(edge) = rows.first().map(|row| row.opt_time("edge")).transpose()?.flatten() else {
                return Ok(deleted);
            };
            let mut tx = self.begin().await?;
            if let Some(fence) = fence {
                tx.stands_behind(fence).await?;
            }
            let sql = format!("DELETE FROM {table} WHERE {time} <= $1");
            let gone = tx.execute_made(table, sql, &[Value::Time(edge)]).await?;
            tx.commit().await?;
            if gone == 0 {
                return Ok(deleted);
            }
            deleted += gone;
        }
    }
}
