//! A store: the tables of `migrations/` on SQLite or PostgreSQL.
//!
//! This file is all that the rest of the sink sees of a database: open, migrate, a transaction, a query. Statements are
//! written once, in the SQL that both dialects share (`$1` parameters, `ON CONFLICT`); what differs is in
//! [`super::sqlite`] and [`super::postgres`].

use std::collections::HashSet;

use futures::TryFutureExt as _;
use sqlx::{AssertSqlSafe, PgConnection, Transaction};
use uuid::Uuid;

use super::copy::{self, Copy};
use super::error::StoreError;
use super::tables::Rows;
use super::value::{Kind, Value};
use super::{postgres, sqlite, timescale};

/// An open store. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub enum Store {
    Sqlite(sqlite::Db),
    Postgres(postgres::Db),
}

impl Store {
    /// `sqlite://PATH` (the file and its folder are made) or `postgres://USER@HOST:PORT/DATABASE`. A server that is
    /// away is noticed at first use, not here.
    pub async fn open(url: &str) -> Result<Store, StoreError> {
        Store::open_with(url, None).await
    }

    /// The same, with the password from elsewhere than the URL.
    pub async fn open_with(url: &str, password: Option<&str>) -> Result<Store, StoreError> {
        if url.starts_with("sqlite:") {
            Ok(Store::Sqlite(sqlite::open(url)?))
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Ok(Store::Postgres(postgres::open(url, password)?))
        } else {
            Err(StoreError::fatal(
                "reading the store's URL",
                "it must start with sqlite:// or postgres://",
            ))
        }
    }

    /// Brings the tables to this program's version. Tables of a newer version are refused.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Store::Sqlite(db) => sqlite::MIGRATOR.run(&db.writer).map_err(StoreError::migrating).await,
            Store::Postgres(db) => {
                let mut connection = postgres::unhurried(db).await?;
                postgres::MIGRATOR
                    .run(&mut connection)
                    .map_err(StoreError::migrating)
                    .await?;
                timescale::set_up(&mut connection).await
            }
        }
    }

    /// The migrations alone: plain tables, also with TimescaleDB.
    pub(crate) async fn migrate_tables(&self) -> Result<(), StoreError> {
        match self {
            Store::Sqlite(db) => sqlite::MIGRATOR.run(&db.writer).map_err(StoreError::migrating).await,
            Store::Postgres(db) => {
                let mut connection = postgres::unhurried(db).await?;
                postgres::MIGRATOR
                    .run(&mut connection)
                    .map_err(StoreError::migrating)
                    .await
            }
        }
    }

    /// Undoes the migrations after `version`; 0 drops every table.
    pub async fn migrate_down(&self, version: i64) -> Result<(), StoreError> {
        match self {
            Store::Sqlite(db) => {
                sqlite::MIGRATOR
                    .undo(&db.writer, version)
                    .map_err(StoreError::migrating)
                    .await
            }
            Store::Postgres(db) => {
                let mut connection = postgres::unhurried(db).await?;
                postgres::MIGRATOR
                    .undo(&mut connection, version)
                    .map_err(StoreError::migrating)
                    .await
            }
        }
    }

    /// Waits for running statements and closes the connections.
    pub async fn close(&self) {
        match self {
            Store::Sqlite(db) => {
                db.readers.close().await;
                // The last connection to close folds the write-ahead log into the file.
                db.writer.close().await;
            }
            Store::Postgres(db) => db.pool.close().await,
        }
    }

    /// A write transaction. On SQLite it takes the write lock at once, so that it never fails half way for want of it.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        let doing = || StoreError::while_doing("beginning a transaction");
        Ok(match self {
            Store::Sqlite(db) => Tx::Sqlite(db.writer.begin_with("BEGIN IMMEDIATE").await.map_err(doing())?),
            Store::Postgres(db) => Tx::Postgres(Some(postgres::begin(db).await.map_err(doing())?)),
        })
    }

    /// Runs a query outside any transaction, on a reader.
    pub(crate) async fn query(&self, doing: &str, sql: &str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Store::Sqlite(db) => {
                let query = args.iter().fold(sqlx::query(sql), sqlite::bind);
                let rows = query
                    .fetch_all(&db.readers)
                    .await
                    .map_err(StoreError::while_doing(doing))?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Store::Postgres(db) => {
                let query = args.iter().fold(sqlx::query(sql), postgres::bind);
                let rows = query
                    .fetch_all(&db.pool)
                    .await
                    .map_err(StoreError::while_doing(doing))?;
                Ok(rows.into_iter().map(|row| Row::Postgres(Box::new(row))).collect())
            }
        }
    }
}

/// One statement in both dialects, where they differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialects {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

/// A write transaction. Dropped without [`Tx::commit`], it never was.
pub(crate) enum Tx {
    Sqlite(Transaction<'static, sqlx::Sqlite>),
    /// None while a task has it, and after that task was lost.
    Postgres(Option<Transaction<'static, sqlx::Postgres>>),
}

/// Of PostgreSQL; false also where they are missing.
pub(super) const ROLLUPS_ARE_TABLES: &str =
    "SELECT COALESCE((SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('signals_by_minute')), FALSE) AS kept";

/// The connection of a transaction.
fn held<'a>(tx: &'a mut Option<Transaction<'static, sqlx::Postgres>>) -> Result<&'a mut PgConnection, StoreError> {
    tx.as_mut().map(|tx| &mut **tx).ok_or_else(|| StoreError::Unavailable {
        doing: "writing".to_owned(),
        cause: "the transaction went away with the task that had it".to_owned(),
    })
}

impl Tx {
    /// The number of rows written.
    pub async fn insert(&mut self, rows: &Rows) -> Result<u64, StoreError> {
        let doing = StoreError::while_doing(rows.table.name);
        match self {
            Tx::Sqlite(tx) => sqlite::insert(tx, rows).await.map_err(doing),
            Tx::Postgres(tx) => postgres::insert(held(tx)?, rows).await.map_err(doing),
        }
    }

    /// Inserts what is not there, and returns those rows. That some are there is rare: only then are they asked for by name, in a
    /// second attempt.
    pub async fn insert_new<'r>(&mut self, rows: &'r Rows) -> Result<Vec<&'r Vec<Value>>, StoreError> {
        let doing = rows.table.name;
        self.execute(doing, "SAVEPOINT new_rows", &[]).await?;
        let all = match self {
            Tx::Postgres(tx) if rows.rows.len() >= copy::WORTH_IT => copied(tx, rows).await?,
            _ => self.insert(rows).await? == rows.rows.len() as u64,
        };
        if all {
            self.execute(doing, "RELEASE SAVEPOINT new_rows", &[]).await?;
            return Ok(rows.rows.iter().collect());
        }
        self.execute(doing, "ROLLBACK TO SAVEPOINT new_rows", &[]).await?;
        self.execute(doing, "RELEASE SAVEPOINT new_rows", &[]).await?;
        let key = rows.table.key();
        let named = key.iter().map(|index| rows.table.columns[*index]);
        let named: Vec<(&str, Kind)> = named.collect();
        let written = match self {
            Tx::Sqlite(tx) => sqlite::insert_returning(tx, rows, &named).await,
            Tx::Postgres(tx) => postgres::insert_returning(held(tx)?, rows, &named).await,
        };
        let written: HashSet<String> = written
            .map_err(StoreError::while_doing(doing))?
            .iter()
            .map(|cells| format!("{cells:?}"))
            .collect();
        // Of two rows of one key the first is written.
        let mut seen = HashSet::new();
        let is_new = |row: &&Vec<Value>| {
            let place = format!("{:?}", key.iter().map(|index| &row[*index]).collect::<Vec<_>>());
            written.contains(&place) && seen.insert(place)
        };
        Ok(rows.rows.iter().filter(is_new).collect())
    }

    pub fn on_postgres(&self) -> bool {
        matches!(self, Tx::Postgres(_))
    }

    /// Whether the rollups are tables, which whoever writes rows must add to. Asked in every transaction: another process may have
    /// made them continuous aggregates since.
    pub async fn keeps_rollups(&mut self) -> Result<bool, StoreError> {
        if !self.on_postgres() {
            return Ok(true);
        }
        let rows = self.query("looking for rollups", ROLLUPS_ARE_TABLES, &[]).await?;
        rows.first().map_or(Ok(false), |row| row.bool("kept"))
    }

    /// The statement of this store's dialect.
    pub fn pick(&self, sql: Dialects) -> &'static str {
        match self {
            Tx::Sqlite(_) => sql.sqlite,
            Tx::Postgres(_) => sql.postgres,
        }
    }

    /// The number of rows changed.
    pub async fn execute(&mut self, doing: &str, sql: &'static str, args: &[Value]) -> Result<u64, StoreError> {
        let doing = StoreError::while_doing(doing);
        match self {
            Tx::Sqlite(tx) => {
                let query = args.iter().fold(sqlx::query(sql), sqlite::bind);
                Ok(query.execute(&mut **tx).await.map_err(doing)?.rows_affected())
            }
            Tx::Postgres(tx) => {
                let query = args.iter().fold(sqlx::query(sql), postgres::bind);
                Ok(query.execute(held(tx)?).await.map_err(doing)?.rows_affected())
            }
        }
    }

    /// The same with a statement that was put together.
    pub async fn execute_made(&mut self, doing: &str, sql: String, args: &[Value]) -> Result<u64, StoreError> {
        let doing = StoreError::while_doing(doing);
        let sql = AssertSqlSafe(sql);
        match self {
            Tx::Sqlite(tx) => {
                let query = args.iter().fold(sqlx::query(sql), sqlite::bind);
                Ok(query.execute(&mut **tx).await.map_err(doing)?.rows_affected())
            }
            Tx::Postgres(tx) => {
                let query = args.iter().fold(sqlx::query(sql), postgres::bind);
                Ok(query.execute(held(tx)?).await.map_err(doing)?.rows_affected())
            }
        }
    }

    pub async fn query(&mut self, doing: &str, sql: &'static str, args: &[Value]) -> Result<Vec<Row>, StoreError> {
        let doing = StoreError::while_doing(doing);
        match self {
            Tx::Sqlite(tx) => {
                let query = args.iter().fold(sqlx::query(sql), sqlite::bind);
                let rows = query.fetch_all(&mut **tx).await.map_err(doing)?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Tx::Postgres(tx) => {
                let query = args.iter().fold(sqlx::query(sql), postgres::bind);
                let rows = query.fetch_all(held(tx)?).await.map_err(doing)?;
                Ok(rows.into_iter().map(|row| Row::Postgres(Box::new(row))).collect())
            }
        }
    }

    /// An error means "perhaps": the next write finds out by the stored position.
    pub async fn commit(self) -> Result<(), StoreError> {
        let doing = StoreError::while_doing("committing");
        match self {
            Tx::Sqlite(tx) => tx.commit().await.map_err(doing),
            Tx::Postgres(Some(tx)) => tx.commit().await.map_err(doing),
            Tx::Postgres(None) => Err(StoreError::Unavailable {
                doing: "committing".to_owned(),
                cause: "the transaction went away with the task that had it".to_owned(),
            }),
        }
    }
}

/// Whether all `rows` were copied; false: some key is there already, and the transaction is to be rolled back to its savepoint. In a task
/// of its own, which nobody can drop half way: a COPY that is left in its middle leaves answers on the connection that the next
/// statement would take for its own.
async fn copied(tx: &mut Option<Transaction<'static, sqlx::Postgres>>, rows: &Rows) -> Result<bool, StoreError> {
    held(tx)?;
    let (taken, copy) = (tx.take(), Copy::of(rows));
    let working = tokio::spawn(async move {
        let mut taken = taken?;
        let done = copy.send(&mut taken).await;
        Some((taken, done))
    });
    let Ok(Some((back, done))) = working.await else {
        return Err(StoreError::Unavailable {
            doing: rows.table.name.to_owned(),
            cause: "the task that copied was lost".to_owned(),
        });
    };
    *tx = Some(back);
    match done {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(e)) if e.is_unique_violation() => Ok(false),
        Err(e) => Err(StoreError::while_doing(rows.table.name)(e)),
    }
}

/// A row of an answer; columns by name.
pub(crate) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(Box<sqlx::postgres::PgRow>),
}

impl Row {
    pub fn uuid(&self, name: &str) -> Result<Uuid, StoreError> {
        self.opt_uuid(name)?.ok_or_else(|| missing(name))
    }

    pub fn opt_uuid(&self, name: &str) -> Result<Option<Uuid>, StoreError> {
        Ok(match self.cell(name, Kind::Uuid)? {
            Value::Uuid(id) => Some(id),
            _ => None,
        })
    }

    pub fn text(&self, name: &str) -> Result<String, StoreError> {
        self.opt_text(name)?.ok_or_else(|| missing(name))
    }

    pub fn opt_text(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(match self.cell(name, Kind::Text)? {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    pub fn int(&self, name: &str) -> Result<i64, StoreError> {
        self.opt_int(name)?.ok_or_else(|| missing(name))
    }

    pub fn opt_int(&self, name: &str) -> Result<Option<i64>, StoreError> {
        Ok(match self.cell(name, Kind::Int)? {
            Value::Int(number) => Some(number),
            _ => None,
        })
    }

    pub fn bool(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.cell(name, Kind::Bool)? == Value::Bool(true))
    }

    pub fn time(&self, name: &str) -> Result<chrono::DateTime<chrono::Utc>, StoreError> {
        self.opt_time(name)?.ok_or_else(|| missing(name))
    }

    pub fn opt_time(&self, name: &str) -> Result<Option<chrono::DateTime<chrono::Utc>>, StoreError> {
        Ok(match self.cell(name, Kind::Time)? {
            Value::Time(at) => Some(at),
            _ => None,
        })
    }

    /// `null` where the column is.
    pub fn json(&self, name: &str) -> Result<serde_json::Value, StoreError> {
        match self.cell(name, Kind::Json)? {
            Value::Json(text) => {
                serde_json::from_str(&text).map_err(|e| StoreError::fatal(&format!("reading column {name}"), e))
            }
            _ => Ok(serde_json::Value::Null),
        }
    }

    fn cell(&self, name: &str, kind: Kind) -> Result<Value, StoreError> {
        let cell = match self {
            Row::Sqlite(row) => sqlite::cell(row, name, kind),
            Row::Postgres(row) => postgres::cell(row, name, kind),
        };
        cell.map_err(StoreError::while_doing(&format!("reading column {name}")))
    }
}

fn missing(name: &str) -> StoreError {
    StoreError::fatal(&format!("reading column {name}"), "it is null")
}
