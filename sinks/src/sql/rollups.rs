//! Counts by minute, hour and day, kept by the sink where the database does not keep them itself.
//!
//! With TimescaleDB the rollups are continuous aggregates ([`super::timescale`]) and nothing here runs. Elsewhere they are tables of the
//! same names and columns, and the sink adds to them in the transaction that writes the rows. They are exact because only what changed
//! is added: a row that was there already (a redelivery, a position that was lost) counts nothing, and a row that changes its status
//! is taken out of one group and put into another. They are not counted anew, so rows that retention took stay counted.
//!
//! ```text
//! rows that the transaction wrote ─► Deltas by minute ─┬─► x_by_minute
//!                                                      ├─► x_by_hour     one upsert each: count = count + delta
//!                                                      └─► x_by_day
//! ```
//!
//! Buckets are of UTC. `Rollup::aggregate` is the same as a query, for the continuous aggregates.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::error::StoreError;
use super::store::Tx;
use super::tables::{Rows, Table};
use super::value::{Kind, Value, clamp_micros};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    Signals,
    IncidentEvents,
    Executions,
    Remediations,
    PipelineMetrics,
}

/// One set of rollups.
#[derive(Debug)]
pub struct Rollup {
    pub of: Of,
    /// `NAME_by_minute`, `NAME_by_hour`, `NAME_by_day`.
    pub name: &'static str,
    /// What is counted, and the column that says when.
    pub table: &'static str,
    pub time: &'static str,
    /// What is grouped by; whether it may be null.
    pub keys: &'static [(&'static str, bool)],
    /// The columns that are added up, and each as an aggregate.
    pub sums: &'static [(&'static str, &'static str)],
}

/// Names of the grains and their lengths in microseconds. The epoch is the start of one of each.
pub const GRAINS: [(&str, i64); 3] = [("minute", 60_000_000), ("hour", 3_600_000_000), ("day", 86_400_000_000)];

pub static ROLLUPS: [Rollup; 5] = [
    Rollup {
        of: Of::Signals,
        name: "signals",
        table: "signals",
        time: "event_at",
        keys: &[
            ("tenant", false),
            ("environment", false),
            ("source", false),
            ("kind", false),
            ("severity", false),
            ("service", true),
        ],
        sums: &[
            ("signals", "count(*)"),
            ("firing", "count(*) FILTER (WHERE state = 'firing')"),
        ],
    },
    Rollup {
        of: Of::IncidentEvents,
        name: "incident_events",
        table: "incident_events",
        time: "at",
        keys: &[
            ("tenant", true),
            ("environment", true),
            ("service", true),
            ("severity", true),
            ("fact", false),
        ],
        sums: &[
            ("events", "count(*)"),
            ("detect_ms", "sum(detect_ms)"),
            ("open_ms", "sum(open_ms)"),
        ],
    },
    Rollup {
        of: Of::Executions,
        name: "executions",
        table: "agent_executions",
        time: "created_at",
        keys: &[("agent_name", false), ("status", false)],
        sums: &[
            ("runs", "count(*)"),
            ("tokens", "sum(tokens_used)"),
            ("duration_ms", "sum(duration_ms)"),
        ],
    },
    Rollup {
        of: Of::Remediations,
        name: "remediations",
        table: "remediations",
        time: "created_at",
        keys: &[("action_type", false), ("namespace", true), ("status", false)],
        sums: &[("remediations", "count(*)")],
    },
    Rollup {
        of: Of::PipelineMetrics,
        name: "pipeline_metrics",
        table: "pipeline_metrics",
        time: "at",
        keys: &[("stage", false)],
        sums: &[
            ("commits", "sum(commits)"),
            ("bodies", "sum(bodies)"),
            ("items", "sum(items)"),
            ("forwarded", "sum(forwarded)"),
            ("merged", "sum(merged)"),
            ("suppressed", "sum(suppressed)"),
            ("late", "sum(late)"),
            ("dead_lettered", "sum(dead_lettered)"),
            ("produced", "sum(produced)"),
        ],
    },
];

impl Rollup {
    /// `signals_by_minute`.
    pub fn named(&self, grain: &str) -> String {
        format!("{}_by_{grain}", self.name)
    }

    /// The rollup as a query of TimescaleDB.
    pub fn aggregate(&self, grain: &str) -> String {
        let keys: Vec<&str> = self.keys.iter().map(|(key, _)| *key).collect();
        let keys = keys.join(", ");
        let sums: Vec<String> = self
            .sums
            .iter()
            .map(|(name, sum)| match sum.starts_with("count") {
                true => format!("{sum} AS {name}"),
                false => format!("CAST(COALESCE({sum}, 0) AS BIGINT) AS {name}"),
            })
            .collect();
        format!(
            "SELECT time_bucket(INTERVAL '1 {grain}', {time}) AS bucket, {keys}, {sums} FROM {table} \
             GROUP BY time_bucket(INTERVAL '1 {grain}', {time}), {keys}",
            time = self.time,
            table = self.table,
            sums = sums.join(", ")
        )
    }

    /// The unique index's expressions, as the migrations write them: `ON CONFLICT` must name the same.
    fn unique(&self, postgres: bool) -> String {
        if postgres {
            let term = |(key, nullable): &(&str, bool)| match nullable {
                false => format!("length({key})::text || ':' || {key}"),
                true => format!("CASE WHEN {key} IS NULL THEN '-' ELSE length({key})::text || ':' || {key} END"),
            };
            let whole = self.keys.iter().map(term).collect::<Vec<_>>().join(" || ");
            return format!("bucket, hashtextextended({whole}, 0), hashtextextended({whole}, 1)");
        }
        let values = self.keys.iter().map(|(key, nullable)| match nullable {
            false => (*key).to_owned(),
            true => format!("COALESCE({key}, '')"),
        });
        let nulls = self.keys.iter().filter(|(_, nullable)| *nullable);
        let nulls = nulls.map(|(key, _)| format!("({key} IS NULL)"));
        let all: Vec<String> = ["bucket".to_owned()].into_iter().chain(values).chain(nulls).collect();
        all.join(", ")
    }

    fn table(&self, grain: &str, postgres: bool) -> Table {
        let name = self.named(grain);
        let keys = self.keys.iter().map(|(key, _)| (*key, Kind::Text));
        let sums = self.sums.iter().map(|(sum, _)| (*sum, Kind::Int));
        let columns: Vec<(&str, Kind)> = [("bucket", Kind::Time)].into_iter().chain(keys).chain(sums).collect();
        let sets: Vec<String> = self
            .sums
            .iter()
            .map(|(sum, _)| format!("{sum} = {name}.{sum} + excluded.{sum}"))
            .collect();
        let conflict = format!(
            "ON CONFLICT ({}) DO UPDATE SET {}",
            self.unique(postgres),
            sets.join(", ")
        );
        Table {
            name: name.leak(),
            columns: columns.leak(),
            conflict: conflict.leak(),
        }
    }
}

/// By rollup, grain and dialect (SQLite, PostgreSQL). Made once; leaked once.
static TABLES: LazyLock<Vec<[[Table; 2]; 3]>> = LazyLock::new(|| {
    let grains = |rollup: &Rollup| GRAINS.map(|(grain, _)| [rollup.table(grain, false), rollup.table(grain, true)]);
    ROLLUPS.iter().map(grains).collect()
});

/// The start of the minute, in microseconds, and the group.
type Place = (i64, Vec<Option<String>>);

/// Sums by the place as bytes: a row that adds to a group that is there allocates nothing.
type Groups = HashMap<Vec<u8>, (Place, Vec<i64>)>;

/// What a transaction adds to the rollups.
#[derive(Debug, Default)]
pub struct Deltas {
    by: BTreeMap<Of, Groups>,
    /// The place at hand, as bytes.
    place: Vec<u8>,
}

impl Deltas {
    /// Adds `sums` to the group `keys` in the buckets of `at`; with `sign` -1 it takes them out.
    pub fn add(&mut self, of: Of, at: &Value, keys: &[&Value], sums: &[i64], sign: i64) {
        let Value::Time(at) = at else { return };
        let minute = start(at.timestamp_micros(), GRAINS[0].1);
        let keys = keys.iter().map(|key| match key {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        });
        self.place.clear();
        self.place.extend_from_slice(&minute.to_le_bytes());
        for key in keys.clone() {
            // Lengths, so that no two places have the same bytes; no key is as long as the length of none.
            let length = key.map_or(u64::MAX, |key| key.len() as u64);
            self.place.extend_from_slice(&length.to_le_bytes());
            self.place.extend_from_slice(key.unwrap_or_default().as_bytes());
        }
        let groups = self.by.entry(of).or_default();
        match groups.get_mut(self.place.as_slice()) {
            Some((_, group)) => merge(group, sums, sign),
            None => {
                let mut group = vec![0; sums.len()];
                merge(&mut group, sums, sign);
                let place = (minute, keys.map(|key| key.map(str::to_owned)).collect());
                groups.insert(self.place.clone(), (place, group));
            }
        }
    }

    /// What rows of `table` add that were not there before.
    pub fn add_row(&mut self, of: Of, row: &[Value]) {
        match of {
            Of::Signals => {
                let firing = row[9] == Value::Text("firing".into());
                let keys = [&row[5], &row[6], &row[7], &row[8], &row[15], &row[18]];
                self.add(of, &row[0], &keys, &[1, firing.into()], 1);
            }
            Of::IncidentEvents => {
                let keys = [&row[6], &row[7], &row[8], &row[9], &row[4]];
                self.add(of, &row[2], &keys, &[1, int(&row[10]), int(&row[11])], 1);
            }
            Of::PipelineMetrics => {
                // Without `held` and `released`.
                let sums = [4, 5, 6, 7, 8, 9, 10, 11, 14].map(|column| int(&row[column]));
                self.add(of, &row[0], &[&row[1]], &sums, 1);
            }
            // Rows of these change: see `super::response`.
            Of::Executions | Of::Remediations => {}
        }
    }

    /// Adds everything, in one order for everybody.
    pub async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        for (rollup, tables) in ROLLUPS.iter().zip(TABLES.iter()) {
            let Some(minutes) = self.by.get(&rollup.of) else {
                continue;
            };
            for ((_, length), dialects) in GRAINS.iter().zip(tables) {
                let mut groups: BTreeMap<Place, Vec<i64>> = BTreeMap::new();
                for ((minute, keys), sums) in minutes.values() {
                    let group = groups.entry((start(*minute, *length), keys.clone()));
                    merge(group.or_insert_with(|| vec![0; sums.len()]), sums, 1);
                }
                groups.retain(|_, sums| sums.iter().any(|sum| *sum != 0));
                write_groups(tx, &dialects[usize::from(tx.on_postgres())], groups).await?;
            }
        }
        Ok(())
    }
}

async fn write_groups(tx: &mut Tx, table: &'static Table, groups: BTreeMap<Place, Vec<i64>>) -> Result<(), StoreError> {
    // The first sum is the number of rows, where rows can leave a group again.
    let emptied: std::collections::BTreeSet<i64> = groups
        .iter()
        .filter(|(_, sums)| sums[0] < 0)
        .map(|((bucket, _), _)| *bucket)
        .collect();
    let row = |((bucket, keys), sums): (Place, Vec<i64>)| {
        let keys = keys.into_iter().map(|key| Value::option(key, Value::Text));
        let sums = sums.into_iter().map(Value::Int);
        std::iter::once(Value::micros(bucket)).chain(keys).chain(sums).collect()
    };
    let rows = groups.into_iter().map(row).collect();
    tx.insert(&Rows { table, rows }).await?;
    let count = table.columns.iter().find(|(_, kind)| *kind == Kind::Int);
    for bucket in emptied {
        let count = count.map_or("", |(name, _)| *name);
        let sql = format!("DELETE FROM {} WHERE bucket = $1 AND {count} <= 0", table.name);
        tx.execute_made(table.name, sql, &[Value::micros(bucket)]).await?;
    }
    Ok(())
}

/// Where the bucket of `length` begins that holds `micros`.
fn start(micros: i64, length: i64) -> i64 {
    clamp_micros(micros).div_euclid(length) * length
}

fn merge(into: &mut [i64], sums: &[i64], sign: i64) {
    for (into, sum) in into.iter_mut().zip(sums) {
        *into = into.saturating_add(sum.saturating_mul(sign));
    }
}

/// 0 where there is none.
pub fn int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        _ => 0,
    }
}

/// What rows of `table` are counted as.
pub fn counted(table: &str) -> Option<Of> {
    ROLLUPS
        .iter()
        .find(|rollup| rollup.table == table)
        .map(|rollup| rollup.of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_begin_before_what_they_hold() {
        let hour = GRAINS[1].1;
        let check = |micros: i64, expected: i64| assert_eq!(start(micros, hour), expected, "{micros}");
        check(0, 0);
        check(hour - 1, 0);
        check(-1, -hour);
        check(i64::MIN, -62_135_596_800_000_000);
    }

    #[test]
    fn what_leaves_a_group_is_taken_out() {
        let mut deltas = Deltas::default();
        let (at, agent) = (Value::micros(61_000_000), Value::text("triage"));
        let (running, success) = (Value::text("running"), Value::text("success"));
        deltas.add(Of::Executions, &at, &[&agent, &running], &[1, 0, 0], 1);
        deltas.add(Of::Executions, &at, &[&agent, &running], &[1, 0, 0], -1);
        deltas.add(Of::Executions, &at, &[&agent, &success], &[1, 70, 12], 1);
        let groups = &deltas.by[&Of::Executions];
        let sums: Vec<(&str, &[i64])> = groups
            .values()
            .map(|((_, keys), sums)| (keys[1].as_deref().unwrap_or(""), &sums[..]))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect();
        assert_eq!(sums, [("running", &[0, 0, 0][..]), ("success", &[1, 70, 12][..])]);
        assert!(groups.values().all(|((minute, _), _)| *minute == 60_000_000));
    }
}
