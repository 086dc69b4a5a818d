//! Tables filled anew from the log, beside those in use, and put in their place in one transaction.
//!
//! ```text
//! log ─► a sink of its own ─► shadow tables ──┐  one transaction: are the live positions where they were? then
//!                                             ├─ the live tables are emptied, the shadow's rows and positions go into them
//! live tables, read as ever until then ◄──────┘
//! ```
//!
//! The live tables themselves stay: with them stay grants, indexes, views, hypertables and policies that somebody else made. Killed
//! before the commit, they are as they were; what is left of the shadow is thrown away by the next attempt. The shadow is a file beside
//! SQLite's, or a schema `NAME_rebuild` beside PostgreSQL's, which takes the right to make one.
//!
//! What is no projection of the log goes along: `incidents.metadata`, which is for people, and the tables of messages, which are not
//! touched. While the transaction runs, readers see the old rows on SQLite and wait on PostgreSQL. Continuous aggregates are
//! refreshed behind it.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection};

use super::error::StoreError;
use super::rollups::{GRAINS, ROLLUPS};
use super::store::{ROLLUPS_ARE_TABLES, Store};
use super::{SqlSink, postgres};

/// What the sink projects, parents first. Rollups come behind.
const PROJECTED: [&str; 9] = [
    "incidents",
    "incident_events",
    "incident_members",
    "agent_executions",
    "remediations",
    "signals",
    "dead_letters",
    "notifications",
    "pipeline_metrics",
];

const POSITIONS: &str = "SELECT topic, CAST(partition AS TEXT) AS partition, log_id, CAST(next AS TEXT) AS next \
    FROM sink_positions WHERE sink = $1 ORDER BY topic, partition";

/// The migration before the one that makes rollups.
const BEFORE_ROLLUPS: i64 = 38;

/// One row of [`POSITIONS`].
type Position = [String; 4];

/// Tables that are being filled.
pub struct Shadow {
    live: Store,
    filled: Store,
    /// Where the live sink stood when this began.
    stood: Vec<Position>,
    place: Place,
}

enum Place {
    File(std::path::PathBuf),
    Schema(String),
}

impl Shadow {
    /// Empty tables beside those of `live`; what is left of an earlier attempt is thrown away.
    pub async fn begin(live: &Store) -> Result<Shadow, StoreError> {
        let stood = positions(live).await?;
        let (filled, place) = match live {
            Store::Sqlite(db) => {
                let mut file = db.writer.connect_options().get_filename().as_os_str().to_owned();
                file.push(".rebuild");
                let file = std::path::PathBuf::from(file);
                remove(&file)?;
                (
                    Store::open(&format!("sqlite://{}", file.display())).await?,
                    Place::File(file),
                )
            }
            Store::Postgres(db) => {
                let mut connection = postgres::unhurried(db).await?;
                let doing = || StoreError::while_doing("making a schema to rebuild in");
                let schema: String = sqlx::query_scalar("SELECT current_schema() || '_rebuild'")
                    .fetch_one(&mut connection)
                    .await
                    .map_err(doing())?;
                let make = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
                connection.execute(AssertSqlSafe(make)).await.map_err(doing())?;
                (Store::Postgres(postgres::in_schema(db, &schema)), Place::Schema(schema))
            }
        };
        filled.migrate_tables().await?;
        if matches!(live, Store::Postgres(_)) {
            let rows = live.query("looking for rollups", ROLLUPS_ARE_TABLES, &[]).await?;
            if !rows.first().map_or(Ok(false), |row| row.bool("kept"))? {
                // Continuous aggregates count by themselves.
                filled.migrate_down(BEFORE_ROLLUPS).await?;
            }
        }
        Ok(Shadow {
            live: live.clone(),
            filled,
            stood,
            place,
        })
    }

    /// The tables to fill, by a [`SqlSink`] of their own.
    pub fn store(&self) -> &Store {
        &self.filled
    }

    /// Puts the rows in the place of the live ones. Refused when the live sink has moved since the beginning: somebody else writes.
    pub async fn swap(self) -> Result<(), StoreError> {
        self.filled.close().await;
        let doing = || StoreError::while_doing("putting the rebuilt tables in place");
        match (&self.live, &self.place) {
            (Store::Sqlite(db), Place::File(file)) => {
                let mut connection = db.writer.acquire().await.map_err(doing())?;
                sqlx::query("ATTACH DATABASE $1 AS shadow")
                    .bind(file.display().to_string())
                    .execute(&mut *connection)
                    .await
                    .map_err(doing())?;
                let swapped = self.swap_sqlite(&mut connection).await;
                connection.execute("DETACH DATABASE shadow").await.map_err(doing())?;
                drop(connection);
                swapped?;
                remove(file)
            }
            (Store::Postgres(db), Place::Schema(schema)) => {
                let mut connection = postgres::unhurried(db).await?;
                self.swap_postgres(&mut connection, schema).await?;
                refresh(&mut connection).await.map_err(doing())?;
                let drop = format!("DROP SCHEMA {schema} CASCADE");
                connection
                    .execute(AssertSqlSafe(drop))
                    .await
                    .map_err(doing())
                    .map(|_| ())
            }
            _ => Err(StoreError::fatal(
                "putting the rebuilt tables in place",
                "another store",
            )),
        }
    }

    /// Throws the shadow away.
    pub async fn abandon(self) -> Result<(), StoreError> {
        self.filled.close().await;
        match (&self.live, &self.place) {
            (Store::Postgres(db), Place::Schema(schema)) => {
                let mut connection = postgres::unhurried(db).await?;
                let drop = format!("DROP SCHEMA {schema} CASCADE");
                let doing = StoreError::while_doing("throwing the rebuilt tables away");
                connection.execute(AssertSqlSafe(drop)).await.map_err(doing).map(|_| ())
            }
            (_, Place::File(file)) => remove(file),
            _ => Ok(()),
        }
    }

    async fn swap_sqlite(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        let doing = || StoreError::while_doing("putting the rebuilt tables in place");
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(doing())?;
        let rows = sqlx::query(POSITIONS).bind(SqlSink::NAME).fetch_all(&mut *tx).await;
        let stands: Result<Vec<Position>, sqlx::Error> = rows
            .map_err(doing())?
            .iter()
            .map(|row| Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?]))
            .collect();
        self.unmoved(&stands.map_err(doing())?)?;
        let mut statements = vec![
            "CREATE TEMP TABLE kept_metadata AS SELECT id, metadata FROM incidents WHERE metadata <> '{}'".to_owned(),
        ];
        let tables = tables();
        statements.extend(tables.iter().rev().map(|table| format!("DELETE FROM main.{table}")));
        for table in &tables {
            let columns = "SELECT group_concat(name, ', ') FROM pragma_table_info($1, 'shadow')";
            let columns: String = sqlx::query_scalar(columns)
                .bind(table)
                .fetch_one(&mut *tx)
                .await
                .map_err(doing())?;
            statements.push(format!(
                "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM shadow.{table}"
            ));
        }
        statements.push(METADATA.to_owned());
        statements.push("DROP TABLE kept_metadata".to_owned());
        statements.push(format!(
            "DELETE FROM main.sink_positions WHERE sink = '{}'",
            SqlSink::NAME
        ));
        statements.push("INSERT INTO main.sink_positions SELECT * FROM shadow.sink_positions".to_owned());
        for statement in statements {
            tx.execute(AssertSqlSafe(statement)).await.map_err(doing())?;
        }
        stream::failpoint::hit("rebuild.swapping");
        tx.commit().await.map_err(doing())
    }

    async fn swap_postgres(&self, connection: &mut PgConnection, schema: &str) -> Result<(), StoreError> {
        let doing = || StoreError::while_doing("putting the rebuilt tables in place");
        let mut tx = connection.begin().await.map_err(doing())?;
        let mut tables = Vec::new();
        for table in self::tables() {
            let kind = "SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass($1)";
            let kept: Option<bool> = sqlx::query_scalar(kind)
                .bind(table.clone())
                .fetch_optional(&mut *tx)
                .await
                .map_err(doing())?;
            if kept == Some(true) {
                tables.push(table);
            }
        }
        // Whoever writes from here on waits, and then finds its position moved.
        let lock = "LOCK TABLE sink_positions IN SHARE ROW EXCLUSIVE MODE";
        tx.execute(lock).await.map_err(doing())?;
        let rows = sqlx::query(POSITIONS).bind(SqlSink::NAME).fetch_all(&mut *tx).await;
        let stands: Result<Vec<Position>, sqlx::Error> = rows
            .map_err(doing())?
            .iter()
            .map(|row| Ok([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?]))
            .collect();
        self.unmoved(&stands.map_err(doing())?)?;
        let mut statements = vec![
            "CREATE TEMP TABLE kept_metadata ON COMMIT DROP AS SELECT id, metadata FROM incidents WHERE metadata <> '{}'"
                .to_owned(),
            format!("TRUNCATE {}", tables.join(", ")),
        ];
        for table in &tables {
            let columns = "SELECT string_agg(format('%I', column_name), ', ') FROM information_schema.columns \
                           WHERE table_schema = $1 AND table_name = $2";
            let columns: String = sqlx::query_scalar(columns)
                .bind(schema.to_owned())
                .bind(table.clone())
                .fetch_one(&mut *tx)
                .await
                .map_err(doing())?;
            statements.push(format!(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM {schema}.{table}"
            ));
        }
        statements.push(METADATA.to_owned());
        statements.push(format!("DELETE FROM sink_positions WHERE sink = '{}'", SqlSink::NAME));
        statements.push(format!(
            "INSERT INTO sink_positions (sink, log_id, topic, partition, next, owner_epoch) \
             SELECT sink, log_id, topic, partition, next, owner_epoch FROM {schema}.sink_positions"
        ));
        for statement in statements {
            tx.execute(AssertSqlSafe(statement)).await.map_err(doing())?;
        }
        stream::failpoint::hit("rebuild.swapping");
        tx.commit().await.map_err(doing())
    }

    fn unmoved(&self, stands: &[Position]) -> Result<(), StoreError> {
        if stands == self.stood {
            return Ok(());
        }
        Err(StoreError::Unavailable {
            doing: "putting the rebuilt tables in place".to_owned(),
            cause: "the sink has moved since the rebuild began: another aegis writes to these tables; stop it first"
                .to_owned(),
        })
    }
}

const METADATA: &str = "UPDATE incidents SET metadata = (SELECT k.metadata FROM kept_metadata k WHERE k.id = incidents.id) \
    WHERE id IN (SELECT id FROM kept_metadata)";

/// Everything that is put in place, parents first.
fn tables() -> Vec<String> {
    let rollups = ROLLUPS
        .iter()
        .flat_map(|rollup| GRAINS.iter().map(|(grain, _)| rollup.named(grain)));
    PROJECTED.into_iter().map(str::to_owned).chain(rollups).collect()
}

async fn positions(store: &Store) -> Result<Vec<Position>, StoreError> {
    let args = [super::Value::text(SqlSink::NAME)];
    let rows = store.query("reading positions", POSITIONS, &args).await?;
    rows.iter()
        .map(|row| {
            Ok([
                row.text("topic")?,
                row.text("partition")?,
                row.text("log_id")?,
                row.text("next")?,
            ])
        })
        .collect()
}

/// Continuous aggregates count what is there now. Not in a transaction: TimescaleDB makes its own.
async fn refresh(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for rollup in &ROLLUPS {
        for (grain, _) in GRAINS {
            let name = rollup.named(grain);
            let kind: Option<bool> =
                sqlx::query_scalar("SELECT relkind = 'v' FROM pg_class WHERE oid = to_regclass($1)")
                    .bind(name.clone())
                    .fetch_optional(&mut *connection)
                    .await?;
            if kind == Some(true) {
                let refresh = format!("CALL refresh_continuous_aggregate('{name}', NULL, NULL)");
                connection.execute(AssertSqlSafe(refresh)).await?;
            }
        }
    }
    Ok(())
}

/// A database's file and what SQLite keeps beside it.
fn remove(file: &std::path::Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let doing = format!("deleting {}", std::path::Path::new(&name).display());
                return Err(StoreError::fatal(&doing, e));
            }
            _ => {}
        }
    }
    Ok(())
}
