//! What TimescaleDB adds to the PostgreSQL dialect: hypertables that are compressed as they age, and continuous aggregates in the place
//! of the rollup tables.
//!
//! Done after the migrations and at every start, because the extension may be installed later, over tables that have rows. Nothing
//! here installs the extension: that takes a superuser. What a person changed since is left alone: a table that is a hypertable is not
//! made one again, where compression was set up once neither its settings nor its policy are touched, and a continuous aggregate that
//! is there stays as it is, with its policy or without.
//!
//! A unique constraint of a hypertable must contain its time, so three primary keys get it here, and only here. Their rows stay unique
//! by what they were unique by before: the time of a fact, a step or a proposal never changes.
//!
//! Compression, policies and continuous aggregates belong to the TSL part of TimescaleDB: a server under the Apache licence goes without
//! the first, and keeps rollups as tables, as every other PostgreSQL. Retention is no policy here: see [`super::retention`].

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::error::StoreError;
use super::rollups::{GRAINS, ROLLUPS, Rollup};

/// One setup at a time in a database; any number that nobody else takes will do.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4919131752989213511)";

/// A table that is divided by time.
struct Hypertable {
    table: &'static str,
    time: &'static str,
    /// Its primary key, where the migrations' has no time.
    key: Option<&'static str>,
    /// Length of a chunk. Higher: larger indexes to keep in memory; lower: more tables to plan over.
    chunk: &'static str,
    /// What people filter on.
    segment_by: &'static str,
    /// In the order of the primary key, so that a late repeat finds its row without decompressing the chunk.
    order_by: &'static str,
    /// After this nearly nothing arrives for a chunk any more.
    compress_after: &'static str,
}

static HYPERTABLES: [Hypertable; 5] = [
    Hypertable {
        table: "signals",
        time: "event_at",
        key: None,
        chunk: "7 days",
        segment_by: "service",
        order_by: "event_at, raw_partition, raw_offset, raw_index",
        compress_after: "7 days",
    },
    Hypertable {
        table: "incident_events",
        time: "at",
        key: Some("incident_id, revision, at"),
        chunk: "30 days",
        segment_by: "fact",
        order_by: "at, incident_id, revision",
        compress_after: "60 days",
    },
    Hypertable {
        table: "agent_executions",
        time: "created_at",
        key: Some("id, created_at"),
        chunk: "30 days",
        segment_by: "agent_name",
        order_by: "created_at, id",
        compress_after: "60 days",
    },
    Hypertable {
        table: "remediations",
        time: "created_at",
        key: Some("id, created_at"),
        chunk: "30 days",
        segment_by: "action_type",
        order_by: "created_at, id",
        compress_after: "60 days",
    },
    Hypertable {
        table: "pipeline_metrics",
        time: "at",
        key: None,
        chunk: "7 days",
        segment_by: "stage",
        order_by: "at, input, partition",
        compress_after: "7 days",
    },
];

/// How a continuous aggregate is kept.
#[derive(Clone, Copy)]
struct Keeping {
    /// What a refresh leaves to the query: it is still being written.
    open: &'static str,
    /// How often one runs.
    every: &'static str,
    /// Length of a chunk: retention drops whole ones.
    chunk: &'static str,
}

/// By grain.
const KEEPING: [Keeping; 3] = [
    Keeping {
        open: "10 minutes",
        every: "5 minutes",
        chunk: "7 days",
    },
    Keeping {
        open: "2 hours",
        every: "30 minutes",
        chunk: "30 days",
    },
    Keeping {
        open: "2 days",
        every: "6 hours",
        chunk: "365 days",
    },
];

const INSTALLED: &str = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')";
const LICENSED: &str = "SELECT current_setting('timescaledb.license') = 'timescale'";
const IS_HYPERTABLE: &str = "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables
    WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = $1::regclass)";
const UNCOMPRESSED: &str = "SELECT EXISTS (SELECT FROM timescaledb_information.hypertables
    WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = $1::regclass AND NOT compression_enabled)";
/// `r` a table, `v` a view, as a continuous aggregate is.
const KIND: &str = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)";
const PRIMARY_KEY: &str =
    "SELECT format('%I', conname) FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'p'";

/// The rollups as tables, filled with what is there. Safe to repeat.
const ROLLUP_TABLES: &str = include_str!("../../../migrations/postgres/0039_rollups.up.sql");

/// Where the extension is installed in the database: all of the above; elsewhere rollups that are missing. Safe to repeat.
pub(super) async fn set_up(connection: &mut PgConnection) -> Result<(), StoreError> {
    in_transaction(connection)
        .await
        .map_err(StoreError::while_doing("setting up hypertables and rollups"))
}

async fn in_transaction(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut tx = sqlx::Connection::begin(connection).await?;
    tx.execute(LOCK).await?;
    let installed: bool = sqlx::query_scalar(INSTALLED).fetch_one(&mut *tx).await?;
    let licensed: bool = match installed {
        true => sqlx::query_scalar(LICENSED).fetch_one(&mut *tx).await?,
        false => false,
    };
    if installed {
        for table in &HYPERTABLES {
            divide(&mut tx, table).await?;
            if licensed {
                compress(&mut tx, table).await?;
            }
        }
    }
    let mut missing = false;
    for rollup in &ROLLUPS {
        for ((grain, _), keeping) in GRAINS.into_iter().zip(KEEPING) {
            let kind = kind(&mut tx, &rollup.named(grain)).await?;
            match kind.as_deref() {
                Some("r") | None if licensed => {
                    aggregate(&mut tx, rollup, grain, kind.is_some(), keeping).await?;
                }
                Some(_) => {}
                None => missing = true,
            }
        }
    }
    if missing {
        tx.execute(ROLLUP_TABLES).await?;
    }
    tx.commit().await
}

async fn kind(to: &mut PgConnection, name: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(KIND).bind(name.to_owned()).fetch_optional(to).await
}

/// Makes a table a hypertable, unless it is one.
async fn divide(to: &mut PgConnection, of: &Hypertable) -> Result<(), sqlx::Error> {
    let Hypertable { table, time, chunk, .. } = of;
    let divided: bool = sqlx::query_scalar(IS_HYPERTABLE)
        .bind(*table)
        .fetch_one(&mut *to)
        .await?;
    if divided {
        return Ok(());
    }
    if let Some(key) = of.key {
        let name: Option<String> = sqlx::query_scalar(PRIMARY_KEY)
            .bind(*table)
            .fetch_optional(&mut *to)
            .await?;
        if let Some(name) = name {
            let change =
                format!("ALTER TABLE {table} DROP CONSTRAINT {name}, ADD CONSTRAINT {name} PRIMARY KEY ({key})");
            to.execute(AssertSqlSafe(change)).await?;
        }
    }
    let divide = format!(
        "SELECT create_hypertable('{table}', '{time}', chunk_time_interval => INTERVAL '{chunk}', if_not_exists => true, \
         migrate_data => true)"
    );
    to.execute(AssertSqlSafe(divide)).await.map(|_| ())
}

async fn compress(to: &mut PgConnection, of: &Hypertable) -> Result<(), sqlx::Error> {
    let table = of.table;
    let todo: bool = sqlx::query_scalar(UNCOMPRESSED).bind(table).fetch_one(&mut *to).await?;
    if !todo {
        return Ok(());
    }
    let compress = format!(
        "ALTER TABLE {table} SET (timescaledb.compress, timescaledb.compress_segmentby = '{}', timescaledb.compress_orderby = '{}');
         SELECT add_compression_policy('{table}', INTERVAL '{}', if_not_exists => true)",
        of.segment_by, of.order_by, of.compress_after
    );
    to.execute(AssertSqlSafe(compress)).await.map(|_| ())
}

/// A continuous aggregate that also counts what is not refreshed yet, and the policy that refreshes it. `instead`: of a table.
///
/// Nothing is materialised here: until the first refresh a query counts the rows. There is no index by group: senders choose these texts,
/// and a B-tree takes none of more than 2,704 bytes.
async fn aggregate(
    to: &mut PgConnection,
    rollup: &Rollup,
    grain: &str,
    instead: bool,
    keeping: Keeping,
) -> Result<(), sqlx::Error> {
    let name = rollup.named(grain);
    let Keeping { open, every, chunk } = keeping;
    if instead {
        to.execute(AssertSqlSafe(format!("DROP TABLE {name}"))).await?;
    }
    let make = format!(
        "CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous, timescaledb.materialized_only = false, \
         timescaledb.create_group_indexes = false, timescaledb.chunk_interval = '{chunk}') AS {} WITH NO DATA",
        rollup.aggregate(grain)
    );
    to.execute(AssertSqlSafe(make)).await?;
    let refresh = format!(
        "SELECT add_continuous_aggregate_policy('{name}', start_offset => NULL, end_offset => INTERVAL '{open}', \
         schedule_interval => INTERVAL '{every}')"
    );
    to.execute(AssertSqlSafe(refresh)).await.map(|_| ())
}
