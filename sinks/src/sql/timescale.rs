//! What TimescaleDB adds to the PostgreSQL dialect: `signals` as a hypertable, compressed as it ages.
//!
//! Done after the migrations and at every start, because the extension may be installed later, over a table that has
//! rows. Nothing here installs the extension: that takes a superuser. What a person changed since is left alone: a
//! table that is a hypertable is not made one again, and where compression was set up once, neither its settings nor
//! its policy are touched.
//!
//! Absent: retention (nothing is dropped unless somebody adds a policy; the log can rebuild the rest) and continuous
//! aggregates. Compression belongs to the TSL part of TimescaleDB: a server under the Apache licence goes without.

use sqlx::{Executor as _, PgConnection};

use super::error::StoreError;

/// One setup at a time in a database; any number that nobody else takes will do.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4919131752989213511)";

/// Chunks of a week, TimescaleDB's default: the index of one still fits the memory of a small server.
const HYPERTABLE: &str = "SELECT create_hypertable('signals', 'event_at', if_not_exists => true, migrate_data => true)";

/// Whether compression is still to be set up.
const UNCOMPRESSED: &str = "SELECT current_setting('timescaledb.license') = 'timescale' AND EXISTS (
    SELECT FROM timescaledb_information.hypertables
    WHERE format('%I.%I', hypertable_schema, hypertable_name)::regclass = 'signals'::regclass AND NOT compression_enabled)";

/// By service, because that is what people filter on; in the order of the primary key, so that a late repeat finds its
/// row without decompressing the chunk. After a week nearly nothing arrives for a chunk any more.
const COMPRESSION: &str = "
    ALTER TABLE signals SET (timescaledb.compress, timescaledb.compress_segmentby = 'service',
        timescaledb.compress_orderby = 'event_at, raw_partition, raw_offset, raw_index');
    SELECT add_compression_policy('signals', INTERVAL '7 days', if_not_exists => true)";

/// Where the extension is installed in the database: all of the above. Safe to repeat.
pub(super) async fn set_up(connection: &mut PgConnection) -> Result<(), StoreError> {
    in_transaction(connection)
        .await
        .map_err(StoreError::while_doing("turning signals into a hypertable"))
}

async fn in_transaction(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let installed: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb')")
        .fetch_one(&mut *connection)
        .await?;
    if !installed {
        return Ok(());
    }
    let mut tx = sqlx::Connection::begin(connection).await?;
    tx.execute(LOCK).await?;
    tx.execute(HYPERTABLE).await?;
    if sqlx::query_scalar(UNCOMPRESSED).fetch_one(&mut *tx).await? {
        tx.execute(COMPRESSION).await?;
    }
    tx.commit().await
}
